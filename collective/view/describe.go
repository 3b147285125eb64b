package view

import "fmt"

// Describe names a message's kind and content, for traces and logs.
func Describe(data []byte) string {
	msg, err := decode(data)
	if err != nil {
		return err.Error()
	}
	name := [kinds]string{"", "announce", "prepare", "promise", "accept", "accepted", "reject", "decided"}[msg.kind]
	switch {
	case msg.kind == announce:
		return fmt.Sprintf("announce: knows view %d, %d workers, hears a quorum: %v, leaving: %v", msg.epoch, len(msg.news.Workers), msg.quorate, msg.news.Leaving)
	case msg.kind == decided:
		return fmt.Sprintf("decided %d: %s", msg.epoch, msg.value.Reason)
	case msg.value.Epoch > 0:
		return fmt.Sprintf("%s %d at ballot %d.%d: %s", name, msg.epoch, msg.ballot.round(), msg.ballot.place(), msg.value.Reason)
	}
	return fmt.Sprintf("%s %d at ballot %d.%d", name, msg.epoch, msg.ballot.round(), msg.ballot.place())
}
