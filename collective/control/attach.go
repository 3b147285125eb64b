package control

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const (
	// welcomeTimeout is how long a worker waits for the launcher's first words.
	welcomeTimeout = 10 * time.Second
	// exitOrphan is the exit status of a worker whose launcher died.
	exitOrphan = 3
)

// Attach connects to the launcher that started this process. It returns nil, nil where there is none. When
// the launcher goes before the worker has said Leave or Done, the process ends: a worker without its
// launcher can never be part of a view again.
func Attach() (*Client, error) {
	v := os.Getenv(EnvFD)
	if v == "" {
		return nil, nil
	}
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("control: %s is %q, expected the number of an open file, 3 or more; ringo launch sets it", EnvFD, v)
	}
	f := os.NewFile(uintptr(fd), "control")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("control: file %d is no socket (%w); ringo launch makes one and sets %s", fd, err, EnvFD)
	}
	// Children of the worker must not believe that they have the link.
	os.Unsetenv(EnvFD)
	c, err := newClient(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go c.preempt(term)
	c.start(func(err error) {
		fmt.Fprintf(os.Stderr, "ringo: worker %s ends: its launcher is gone (%v)\n", c.ID(), err)
		os.Exit(exitOrphan)
	})
	return c, nil
}

// preempt takes a SIGTERM for the order to leave.
func (c *Client) preempt(term chan os.Signal) {
	select {
	case <-term:
		c.setStop(&Stop{Reason: "SIGTERM"})
	case <-c.lost:
	}
	signal.Stop(term)
}

// newClient says hello and hears the welcome.
func newClient(conn net.Conn) (*Client, error) {
	c := &Client{conn: conn, stopped: make(chan struct{}), lost: make(chan struct{}), changed: make(chan struct{})}
	if err := c.send(kindHello, hello()); err != nil {
		return nil, err
	}
	// Nothing is read beyond the welcome, so that run may make a reader of its own.
	r := reader{r: conn}
	if err := conn.SetReadDeadline(time.Now().Add(welcomeTimeout)); err != nil {
		return nil, err
	}
	k, b, err := r.next()
	if err == nil {
		err = checkHello(k, b)
	}
	if err == nil {
		k, b, err = r.next()
	}
	if err == nil && k != kindWelcome {
		err = fmt.Errorf("a %v frame came first", k)
	}
	if err == nil {
		err = json.Unmarshal(b, &c.welcome)
	}
	if err != nil {
		return nil, fmt.Errorf("control: no welcome from the launcher: %w", err)
	}
	return c, conn.SetReadDeadline(time.Time{})
}
