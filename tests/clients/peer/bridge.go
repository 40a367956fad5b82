package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	gatewayapi "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// A build that a client drives by calls of the bridge, as they are: no library stands between.
type driven struct {
	Calls []struct {
		Method  string
		Request json.RawMessage // as protobuf's JSON
		Keep    string          // the name by which later requests say the reference of this answer: "{name}"
	}
}

type drove struct {
	Answers  []answer
	Ended    *answer // of Control.Solve; only if something was returned
	Response map[string]string
}

func bridgeLines(ctx context.Context, c *client.Client, addr string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	in := json.NewDecoder(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for in.More() {
		var d driven
		if err := in.Decode(&d); err != nil {
			return err
		}
		done, err := d.drive(ctx, c, conn)
		if err != nil {
			return err
		}
		if err := out.Encode(done); err != nil {
			return err
		}
	}
	return nil
}

func (d *driven) drive(ctx context.Context, c *client.Client, conn *grpc.ClientConn) (*drove, error) {
	ctx, cancel := context.WithCancel(ctx)
	ref := identity.NewID()
	type end struct {
		response *controlapi.SolveResponse
		err      error
	}
	ended := make(chan end, 1)
	go func() {
		response, err := c.ControlClient().Solve(ctx, &controlapi.SolveRequest{Ref: ref})
		ended <- end{response, err}
	}()
	done := &drove{Answers: []answer{}}
	calls := metadata.AppendToOutgoingContext(ctx, "buildkit-controlapi-buildid", ref)
	kept := map[string]string{}
	returned := false
	for _, call := range d.Calls {
		answered, id, err := invoke(calls, conn, call.Method, call.Request, kept)
		if err != nil {
			cancel()
			return nil, err
		}
		done.Answers = append(done.Answers, answered)
		if call.Keep != "" {
			kept[call.Keep] = id
		}
		returned = returned || call.Method == "Return" && answered.Code == "OK"
	}
	if returned {
		select {
		case last := <-ended:
			found := status.Convert(last.err)
			done.Ended = &answer{found.Code().String(), found.Message()}
			done.Response = last.response.GetExporterResponse()
			cancel()
			return done, nil
		case <-time.After(time.Minute):
			cancel()
			return nil, fmt.Errorf("the build did not end after Return")
		}
	}
	cancel()
	<-ended
	return done, nil
}

// invoke makes one call; the answer's message is the error, or the response as JSON. The id is its reference's.
func invoke(ctx context.Context, conn *grpc.ClientConn, method string, text []byte, kept map[string]string) (answer, string, error) {
	const service = "moby.buildkit.v1.frontend"
	for name, id := range kept {
		text = bytes.ReplaceAll(text, []byte("{"+name+"}"), []byte(id))
	}
	request, err := newMessage(service + "." + method + "Request")
	if err != nil {
		return answer{}, "", err
	}
	name := strings.Replace(method+"Response", "PingResponse", "PongResponse", 1)
	response, err := newMessage(service + "." + name)
	if err != nil {
		return answer{}, "", err
	}
	if err := protojson.Unmarshal(text, request); err != nil {
		return answer{}, "", err
	}
	if err := conn.Invoke(ctx, "/"+service+".LLBBridge/"+method, request, response); err != nil {
		found := status.Convert(err)
		return answer{found.Code().String(), found.Message()}, "", nil
	}
	id := ""
	if solved, ok := response.(*gatewayapi.SolveResponse); ok {
		id = solved.GetResult().GetRef().GetId()
	}
	said, err := protojson.Marshal(response)
	return answer{"OK", string(said)}, id, err
}

func newMessage(name string) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return kind.New().Interface(), nil
}
