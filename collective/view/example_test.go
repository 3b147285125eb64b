package view_test

import (
	"fmt"

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
