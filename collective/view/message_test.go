package view

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func samples() []message {
	a, w := Host{ID: "a", Addr: "10.0.0.1:7070"}, Host{ID: "w", Witness: true}
	v := View{Epoch: 5, Founder: "a", Hosts: []Host{a, w}, Reason: "worker 2 died", Guard: true,
		Workers: []Worker{{ID: "0", Host: "a", Addr: "10.0.0.1:9", Device: "cuda:0", Speed: 12.5}}}
	news := announcement{Seq: 7, Leaving: true, Note: "n", Broken: broken{4, "0", "1", "reset"}, Workers: v.Workers}
	base := func(k kind) message { return message{kind: k, founder: "a", from: a, epoch: 5} }
	all := []message{base(announce), base(prepare), base(promise), base(promise), base(accept), base(accepted), base(reject), base(decided)}
	all[0].quorate, all[0].news = true, news
	for i := 1; i < 7; i++ {
		all[i].ballot = newBallot(3, 1)
	}
	all[3].at, all[3].value = firstBallot, v
	all[4].value, all[6].at, all[7].value = v, newBallot(9, 0), v
	return all
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, want := range samples() {
		data := want.encode()
		got, err := decode(data)
		require.NoError(t, err)
		if got.kind == announce {
			require.Equal(t, want.news, got.news)
		}
		require.True(t, want.value.Equal(got.value) || want.value.Epoch == 0)
		require.Equal(t, data, got.encode())
		for cut := range data {
			_, err := decode(data[:cut])
			require.Error(t, err)
		}
		_, err = decode(append(data, 0))
		require.ErrorContains(t, err, "bytes behind its end")
	}
}

// FuzzDecode: whatever comes is refused or understood, never a panic; what is understood survives another round.
func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		f.Add(m.encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := decode(data)
		if err != nil {
			return
		}
		again, err := decode(msg.encode())
		require.NoError(t, err)
		require.Equal(t, msg.encode(), again.encode())
	})
}

// FuzzMachine: no sequence of messages makes a machine panic or decide two views of one epoch.
func FuzzMachine(f *testing.F) {
	for _, m := range samples() {
		f.Add(m.encode(), uint16(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint16) {
		m, err := New(DefaultConfig(Host{ID: "b"}))
		require.NoError(t, err)
		m.Step(0, Start{})
		for i := range int(n%8) + 1 {
			before := m.View()
			m.Step(m.now+m.cfg.Heartbeat, Message{"a", data})
			m.Step(m.now, Message{"a", samples()[i].encode()})
			require.True(t, m.View().Epoch > before.Epoch || m.View().Equal(before))
		}
	})
}
