package onnxpb_test

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"ringo/export/onnxpb"
)

func Example() {
	raw, err := proto.Marshal(&onnxpb.NodeProto{OpType: proto.String("Softmax"), Input: []string{"x"}, Output: []string{"y"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var n onnxpb.NodeProto
	err = proto.Unmarshal(raw, &n)
	fmt.Println(n.GetOpType(), n.GetInput(), n.GetOutput(), err)
	// Output: Softmax [x] [y] <nil>
}
