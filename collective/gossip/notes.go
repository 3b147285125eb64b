package gossip

import (
	"log/slog"
	"net"
	"strings"
	"sync"
)

// wrongKey is what memberlist says of a message that its keyring does not open.
const wrongKey = "no installed keys could decrypt the message"

// maxNotes bounds how many addresses are remembered as having been complained about.
const maxNotes = 1024

// notes turns memberlist's log into slog records: debug, but for what an operator must know, which is said once per
// sender.
type notes struct {
	log *slog.Logger

	mu   sync.Mutex
	said map[string]bool
}

func newNotes(l *slog.Logger) *notes { return &notes{log: l, said: map[string]bool{}} }

// foreign are the ways in which memberlist says that a sender does not speak its protocol.
var foreign = []string{"failed to receive", "Decrypt packet failed", "label header", "unacceptable label", "msgType", "label"}

// Write takes one line of memberlist's logger.
func (n *notes) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	from := sender(text)
	switch {
	case strings.Contains(text, wrongKey):
		n.once("key "+from, "refused "+from+": it does not have this job's key; start it with this job's --key-file")
	case strings.HasPrefix(text, "[ERR]") && containsAny(text, foreign):
		n.once("garbage "+from, "dropped what "+from+" sends to the gossip port: it is not gossip of this job")
	}
	n.log.Debug(strings.TrimPrefix(text, "[DEBUG] "))
	return len(line), nil
}

// refused says once per host why it is kept out.
func (n *notes) refused(addr string, err error) { n.once("refused "+addr+err.Error(), err.Error()) }

func (n *notes) once(key, text string) {
	n.mu.Lock()
	again := n.said[key] || len(n.said) >= maxNotes
	if !again {
		n.said[key] = true
	}
	n.mu.Unlock()
	if !again {
		n.log.Warn("gossip: " + text)
	}
}

// sender finds the address that memberlist puts behind "from=" and cuts its port, which differs every time.
func sender(text string) string {
	_, rest, found := strings.Cut(text, "from=")
	if !found {
		return "an unknown sender"
	}
	addr, _, _ := strings.Cut(rest, " ")
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

func containsAny(s string, subs []string) bool {
	for _, sub := range subs {
		if strings.Contains(s, sub) {
			return true
		}
	}
	return false
}
