package view_test

import (
	"fmt"
	"time"

	"ringo/collective/view"
)

// Of two hosts the first breaks the tie; of three, any two decide.
func ExampleView_Quorum() {
	v := view.View{Epoch: 1, Founder: "a", Hosts: []view.Host{{ID: "a"}, {ID: "b"}}}
	only := func(id string) func(string) bool { return func(other string) bool { return other == id } }
	fmt.Println(v.Quorum(only("a")), v.Quorum(only("b")))
	v.Hosts = append(v.Hosts, view.Host{ID: "w", Witness: true})
	fmt.Println(v.Quorum(only("a")), v.Quorum(func(id string) bool { return id != "a" }))
	// Output:
	// true false
	// false true
}

// One host decides alone: inputs and the time go in, outputs come out.
func ExampleMachine() {
	m, err := view.New(view.DefaultConfig(view.Host{ID: "a", Addr: "10.0.0.1:7070"}))
	if err != nil {
		panic(err)
	}
	now := time.Duration(0)
	step := func(in view.Input) {
		for _, out := range m.Step(now, in) {
			switch out := out.(type) {
			case view.Decided:
				fmt.Printf("view %d: %s, %d workers\n", out.View.Epoch, out.View.Reason, len(out.View.Workers))
			case view.Standing:
				fmt.Println(out.State)
			case view.Wake:
				now = out.At // nothing else happens here
			}
		}
	}
	step(view.Start{Found: true})
	step(view.Workers{Workers: []view.Worker{{ID: "0", Addr: "10.0.0.1:9000"}, {ID: "1", Addr: "10.0.0.1:9001"}}})
	for m.View().Epoch < 2 { // until the newcomers have settled
		step(view.Tick{})
	}
	step(view.Workers{Workers: []view.Worker{{ID: "0", Addr: "10.0.0.1:9000"}}, Reason: "worker 1 died (signal: killed)"})
	// Output:
	// joining
	// view 1: host a founded the job, 0 workers
	// member
	// view 2: workers 0, 1 joined, 2 workers
	// view 3: worker 1 died (signal: killed), 1 workers
}
