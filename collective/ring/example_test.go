package ring_test

import (
	"context"
	"fmt"
	"sync"

	"ringo/collective/ring"
	"ringo/runtime/tensor"
)

// Two members of one view sum a vector. Each would be a process of its own.
func Example() {
	var members []ring.Member
	var listeners []*ring.Listener
	for i := range 2 {
		l, err := ring.Listen("127.0.0.1:0", ring.ListenOptions{Secret: []byte("of this job")})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer l.Close()
		listeners = append(listeners, l)
		members = append(members, ring.Member{ID: fmt.Sprint("worker-", i), Addr: l.Addr()})
	}
	sums := make([]*tensor.Tensor, 2)
	var wg sync.WaitGroup
	for i, l := range listeners {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := l.Join(context.Background(), ring.Options{Job: "demo", Epoch: 1, Self: i, Members: members})
			if err != nil {
				fmt.Println(err)
				return
			}
			defer r.Close()
			sums[i] = tensor.Of(tensor.Shape{3}, float32(i+1), 10, 0.5)
			if err := r.AllReduce(sums[i].Bytes(), tensor.F32); err != nil {
				fmt.Println(err)
			}
		}()
	}
	wg.Wait()
	fmt.Println(tensor.Data[float32](sums[0]), tensor.Data[float32](sums[1]))
	// Output: [3 20 1] [3 20 1]
}
