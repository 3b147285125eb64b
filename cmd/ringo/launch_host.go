package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"ringo/collective/launch"
	"ringo/collective/secure"
)

// hostFlags say how a host takes part in a job; launch and witness share them.
type hostFlags struct {
	Job       string   `placeholder:"NAME" help:"The job's name; launch takes that of the configuration's file where none is given. Hosts of other jobs are refused."`
	Join      []string `placeholder:"HOST:PORT" help:"Hosts of the job, any of them. The first may begin alone if no other answers."`
	Bind      string   `placeholder:"HOST:PORT" help:"Where this host listens; by default 127.0.0.1 and a free port, with --join or --advertise port 7946 of all addresses."`
	Advertise string   `placeholder:"HOST[:PORT]" help:"Where other hosts reach this one."`
	KeyFile   string   `placeholder:"FILE" help:"The job's key; by default NAME.key in the user's configuration folder. The variable RINGO_JOB_KEY goes first."`
	Status    string   `placeholder:"HOST:PORT" help:"Serve a live page of the job."`
}

// host makes a launcher's settings from the flags.
func (f *hostFlags) host(e *env, job string) (launch.Config, error) {
	l := launch.DefaultConfig()
	l.Job, l.Join, l.Bind, l.Advertise, l.Status = job, f.Join, f.Bind, f.Advertise, f.Status
	if l.Bind == "" {
		l.Bind = "127.0.0.1:0"
		if len(f.Join) > 0 || f.Advertise != "" {
			l.Bind = "0.0.0.0:7946"
		}
	}
	l.Log = slog.New(newLines(e.err, os.Getenv("RINGO_LOG") == "debug"))
	key, err := f.key(e, job, l)
	l.Key = key
	return l, err
}

// key finds the job's key. Only a host that begins a job may make one.
func (f *hostFlags) key(e *env, job string, l launch.Config) (secure.Key, error) {
	lookup := func(name string) string {
		for _, kv := range e.environ {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v
			}
		}
		return ""
	}
	path := f.KeyFile
	if path == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			dir = "."
		}
		path = filepath.Join(dir, "ringo", job+".key")
	}
	if len(f.Join) > 0 && lookup(secure.EnvKey) == "" {
		k, err := secure.Load(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil, usage{fmt.Errorf("no key for job %q at %s; a host that joins needs the key of the first: give it with --key-file or %s", job, path, secure.EnvKey)}
		}
		return k, err
	}
	k, created, err := secure.Find(lookup, path)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil, usage{fmt.Errorf("%w; name another file with --key-file, or give 64 hexadecimal digits in %s", err, secure.EnvKey)}
	}
	if err == nil && lookup(secure.EnvKey) == "" && (created || !loopback(l.Bind)) {
		l.Log.Info("the job's key is in " + path + "; hosts that join need it (--key-file, or " + secure.EnvKey + ")")
	}
	return k, err
}

// runHost runs a launcher. The first signal asks it to stop in order, the second ends it.
func runHost(e *env, l launch.Config) (launch.Result, error) {
	kill := make(chan struct{})
	again := make(chan os.Signal, 1)
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	stop := context.AfterFunc(e.ctx, func() {
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		select {
		case <-again:
			close(kill)
		case <-ctx.Done():
		}
	})
	defer stop()
	defer signal.Stop(again)
	l.Stop = kill
	return launch.Run(ctx, l)
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
