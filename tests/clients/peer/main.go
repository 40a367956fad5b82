// Command peer is a build client for tests: it counts what passes between it and a daemon, and misbehaves on request.
//
//	peer -addr ADDR sync DIR         sends DIR as the local source "context"; prints the packets that were seen
//	peer -addr ADDR fault NAME       sends a broken listing or content instead
//	peer -addr ADDR solve            one base64 pb.Definition a line on stdin, each given to Control.Solve as it is;
//	                                 prints one answer a line
//	peer -addr ADDR lower            requests to the Dockerfile frontend on stdin, one JSON object a line; prints what
//	                                 each was turned into: normalised graphs and metadata, or the error
//	peer -addr ADDR return           builds on stdin, one JSON object a line, whose results are made here; prints how
//	                                 each ended
//	peer -addr ADDR bridge           builds on stdin, one JSON object a line, driven by raw calls of the gateway's service;
//	                                 prints what each call answered
//	peer -addr ADDR meta IMAGE       prints what the daemon says of an image to a client that drives a build
//	peer -addr ADDR content FILTER…  lists the blobs of the content service
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/grpchijack"
	"github.com/moby/buildkit/solver/pb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/status"
)

const deadline = 10 * time.Minute // the caller has its own

func main() {
	addr := flag.String("addr", "", "the daemon")
	flag.Parse()
	if err := run(*addr, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(addr string, args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	c, err := client.New(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	switch {
	case len(args) == 2 && args[0] == "sync":
		files := &counter{dir: args[1]}
		if err := build(ctx, c, files); err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(files.seen())
	case len(args) == 2 && args[0] == "fault":
		play, ok := faults[args[1]]
		if !ok {
			return fmt.Errorf("no fault %q", args[1])
		}
		return build(ctx, c, &faulty{play: play})
	case len(args) == 1 && args[0] == "faults":
		for name := range faults {
			fmt.Println(name)
		}
		return nil
	case len(args) == 1 && args[0] == "solve":
		return solveLines(ctx, c)
	case len(args) == 1 && args[0] == "lower":
		return lower(ctx, c)
	case len(args) == 1 && args[0] == "return":
		return returnLines(ctx, c)
	case len(args) == 1 && args[0] == "bridge":
		return bridgeLines(ctx, c, addr)
	case len(args) == 2 && args[0] == "meta":
		return resolveImage(ctx, c, addr, args[1])
	case len(args) > 0 && args[0] == "content":
		return listBlobs(ctx, c, args[1:])
	}
	return fmt.Errorf("usage: peer -addr ADDR sync DIR | fault NAME | faults | solve | lower | return | bridge | meta IMAGE | content")
}

// build asks for the local source "context", served by files, and for nothing else.
func build(ctx context.Context, c *client.Client, files session.Attachable) error {
	def, err := llb.Local("context", llb.SharedKeyHint("peer")).Marshal(ctx, llb.LinuxAmd64)
	if err != nil {
		return err
	}
	return within(ctx, c, files, func(ctx context.Context, id string) error {
		request := &controlapi.SolveRequest{Ref: identity.NewID(), Session: id, Definition: def.ToPB()}
		_, err := c.ControlClient().Solve(ctx, request)
		return err
	})
}

// within calls do while a session that serves files is open. The client library's own Solve insists on its own files.
func within(ctx context.Context, c *client.Client, files session.Attachable, do func(context.Context, string) error) error {
	s, err := session.NewSession(ctx, "peer")
	if err != nil {
		return err
	}
	s.Allow(files)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.Run(ctx, grpchijack.Dialer(c.ControlClient())) })
	group.Go(func() error {
		defer s.Close()
		return do(ctx, s.ID())
	})
	return group.Wait()
}

type answer struct {
	Code    string
	Message string
}

func solveLines(ctx context.Context, c *client.Client) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		raw, err := base64.StdEncoding.DecodeString(lines.Text())
		if err != nil {
			return err
		}
		def := &pb.Definition{}
		if err := def.Unmarshal(raw); err != nil {
			return err
		}
		_, err = c.ControlClient().Solve(ctx, &controlapi.SolveRequest{Ref: identity.NewID(), Definition: def})
		found := status.Convert(err)
		if err := out.Encode(answer{found.Code().String(), found.Message()}); err != nil {
			return err
		}
	}
	return lines.Err()
}
