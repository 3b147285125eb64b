package main

import (
	"os"
	"path/filepath"
)

// journalFile is where a host of a job notes which of its workers completed which steps; see launch.Config.Journal. It is
// made when the first line is written: a launcher that ends before leaves nothing. Hosts that share the run's folder
// write one file each, named after them.
type journalFile struct {
	dir  string
	file *os.File
}

// Write appends lines.
func (j *journalFile) Write(line []byte) (int, error) {
	if j.file == nil {
		host, err := os.Hostname()
		if err != nil || host == "" {
			host = "host"
		}
		if err := os.MkdirAll(j.dir, 0o777); err != nil {
			return 0, err
		}
		if j.file, err = os.OpenFile(filepath.Join(j.dir, "workers-"+filepath.Base(host)+".jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
			return 0, err
		}
	}
	return j.file.Write(line)
}

// Close ends the file, if there is one.
func (j *journalFile) Close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
