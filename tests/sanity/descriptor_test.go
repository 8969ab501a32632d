package sanity

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// TestContractIsTheSpecifications compares all that matters on the wire, options included; comments,
// the file's path and the order of declarations may differ.
func TestContractIsTheSpecifications(t *testing.T) {
	want := facts(t, csi.File_csi_proto)
	got := facts(t, compileContract(t))

	if len(want) < 1000 {
		t.Fatalf("the specification shrank to %d facts: this test compares nothing", len(want))
	}
	for _, fact := range slices.Sorted(maps.Keys(want)) {
		value, ok := got[fact]
		switch {
		case !ok:
			t.Errorf("missing: %s = %s", fact, want[fact])
		case value != want[fact]:
			t.Errorf("differs: %s = %s, in the specification %s", fact, value, want[fact])
		}
	}
	for _, fact := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[fact]; !ok {
			t.Errorf("added: %s = %s", fact, got[fact])
		}
	}
	t.Logf("compared %d facts", len(want))
}

// TestContractIsExplained holds the contract to a comment on each declaration. Fields are left to
// judgement: a comment that repeats the name helps nobody.
func TestContractIsExplained(t *testing.T) {
	contract := compileContract(t)
	explained := func(d protoreflect.Descriptor) {
		if strings.TrimSpace(contract.SourceLocations().ByDescriptor(d).LeadingComments) == "" {
			t.Errorf("%s has no comment", d.FullName())
		}
	}

	for service := range each(contract.Services()) {
		explained(service)
		for method := range each(service.Methods()) {
			explained(method)
		}
	}
	for extension := range each(contract.Extensions()) {
		explained(extension)
	}
	explainedEnums(contract.Enums(), explained)
	explainedMessages(contract.Messages(), explained)
}

func explainedMessages(messages protoreflect.MessageDescriptors, explained func(protoreflect.Descriptor)) {
	for message := range each(messages) {
		if message.IsMapEntry() {
			continue // made by the compiler
		}
		explained(message)
		explainedEnums(message.Enums(), explained)
		explainedMessages(message.Messages(), explained)
	}
}

func explainedEnums(enums protoreflect.EnumDescriptors, explained func(protoreflect.Descriptor)) {
	for enum := range each(enums) {
		explained(enum)
		for value := range each(enum.Values()) {
			explained(value)
		}
	}
}

// compileContract parses proto/csi/v1/csi.proto with a compiler in Go, so that no protoc is needed.
func compileContract(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			ImportPaths: []string{"../../proto"},
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(t.Context(), "csi/v1/csi.proto")
	if err != nil {
		t.Fatalf("compile the contract: %v", err)
	}
	return files[0]
}

// facts flattens a file into "path of the fact" -> "value".
//
// It walks the descriptor's own descriptor, so that it cannot forget a property that a list of things
// to compare, written by hand, would.
func facts(t *testing.T, file protoreflect.FileDescriptor) map[string]string {
	t.Helper()
	described := protodesc.ToFileDescriptorProto(file)
	described.Name = nil
	described.SourceCodeInfo = nil

	// The round trip turns options, which the compiler holds in types of its own, into the generated
	// ones; it is those that know csi_secret and the alpha marks.
	wire, err := proto.Marshal(described)
	if err != nil {
		t.Fatalf("marshal %s: %v", file.Path(), err)
	}
	plain := &descriptorpb.FileDescriptorProto{}
	if err := proto.Unmarshal(wire, plain); err != nil {
		t.Fatalf("unmarshal %s: %v", file.Path(), err)
	}

	found := map[string]string{}
	flatten("", plain.ProtoReflect(), found)
	return found
}

func flatten(path string, message protoreflect.Message, found map[string]string) {
	if unknown := message.GetUnknown(); len(unknown) > 0 {
		found[path+"unknown bytes"] = fmt.Sprintf("%x", []byte(unknown))
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		here := path + field.TextName()
		switch {
		case field.IsList() && field.Message() != nil:
			list := value.List()
			for i := range list.Len() {
				element := list.Get(i).Message()
				flatten(fmt.Sprintf("%s[%s]/", here, key(element, i)), element, found)
			}
		case field.IsList():
			list := value.List()
			for i := range list.Len() {
				found[fmt.Sprintf("%s[%d]", here, i)] = list.Get(i).String()
			}
		case field.Message() != nil:
			flatten(here+"/", value.Message(), found)
		case field.Enum() != nil:
			found[here] = string(field.Enum().Values().ByNumber(value.Enum()).Name())
		default:
			found[here] = value.String()
		}
		return true
	})
}

// key names a list's element, so that moving a declaration changes nothing; ranges have no name.
func key(element protoreflect.Message, index int) string {
	if name := element.Descriptor().Fields().ByName("name"); name != nil && name.Kind() == protoreflect.StringKind {
		return element.Get(name).String()
	}
	return fmt.Sprint(index)
}

// each iterates over one of protoreflect's lists.
func each[T any](list interface {
	Len() int
	Get(int) T
}) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for i := range list.Len() {
			if !yield(list.Get(i)) {
				return
			}
		}
	}
}
