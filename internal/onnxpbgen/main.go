//go:build generate

// Command onnxpbgen writes the Go types of a .proto file beside it, with the compiler and the code generator as
// libraries: neither protoc nor a plugin has to be installed. It has a build tag of its own so that neither
// enters the normal build.
//
//	go run -tags generate ringo/internal/onnxpbgen onnx.proto ringo/export/onnxpb
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: onnxpbgen FILE.proto GO/IMPORT/PATH")
		os.Exit(2)
	}
	if err := generate(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "onnxpbgen:", err)
		os.Exit(1)
	}
}

// generate compiles one self-contained .proto file and writes FILE.pb.go into its folder.
func generate(file, importPath string) error {
	dir, name := filepath.Split(file)
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: []string{filepath.Clean("./" + dir)}},
		SourceInfoMode: protocompile.SourceInfoStandard, // comments of the source go into the types
	}
	files, err := compiler.Compile(context.Background(), name)
	if err != nil {
		return err
	}
	plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{name},
		Parameter:      proto.String("paths=source_relative,M" + name + "=" + importPath),
		ProtoFile:      []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(files[0])},
	})
	if err != nil {
		return err
	}
	for _, f := range plugin.Files {
		internal_gengo.GenerateFile(plugin, f)
	}
	for _, f := range plugin.Response().File {
		if !strings.HasSuffix(f.GetName(), ".pb.go") {
			return fmt.Errorf("%s: the generator made %s, expected one .pb.go file", file, f.GetName())
		}
		if err := os.WriteFile(filepath.Join(dir, f.GetName()), []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
