package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/identity"
	spb "github.com/moby/buildkit/sourcepolicy/pb"
)

// A build whose result is made here: one reference, or several by key, with metadata of any kind.
type returned struct {
	Opts          map[string]string
	Exporter      string
	Attrs         map[string]string
	Refs          []string // of a map
	Ref           bool
	Metadata      map[string]string
	Compatibility int
	BarePolicy    bool // a rule without selector
}

type outcome struct {
	Ref      string
	Error    string
	Warnings []string
	Response map[string]string
	Seconds  float64
}

// returnLines does the builds on stdin, one JSON object a line, in order.
func returnLines(ctx context.Context, c *client.Client) error {
	in := json.NewDecoder(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for in.More() {
		var r returned
		if err := in.Decode(&r); err != nil {
			return err
		}
		if err := out.Encode(r.build(ctx, c)); err != nil {
			return err
		}
	}
	return nil
}

func (r *returned) build(ctx context.Context, c *client.Client) outcome {
	done := outcome{Ref: identity.NewID(), Warnings: []string{}}
	opt := client.SolveOpt{Ref: done.Ref, FrontendAttrs: r.Opts, CompatibilityVersion: r.Compatibility}
	if r.Exporter != "" {
		opt.Exports = []client.ExportEntry{{Type: r.Exporter, Attrs: r.Attrs}}
	}
	if r.BarePolicy {
		opt.SourcePolicy = &spb.Policy{Version: 1, Rules: []*spb.Rule{{Action: spb.PolicyAction_ALLOW}}}
	}
	statuses := make(chan *client.SolveStatus)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for status := range statuses {
			for _, w := range status.Warnings {
				done.Warnings = append(done.Warnings, string(w.Short))
			}
		}
	}()
	began := time.Now()
	response, err := c.Build(ctx, opt, "peer", r.result, statuses)
	done.Seconds = time.Since(began).Seconds()
	<-ended
	if err != nil {
		done.Error = err.Error()
	} else {
		done.Response = response.ExporterResponse
	}
	slices.Sort(done.Warnings)
	return done
}

func (r *returned) result(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
	def, err := llb.Scratch().File(llb.Mkfile("/file", 0o644, []byte("peer"))).Marshal(ctx, llb.LinuxAmd64)
	if err != nil {
		return nil, err
	}
	solved, err := c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
	if err != nil {
		return nil, err
	}
	ref, err := solved.SingleRef()
	if err != nil {
		return nil, err
	}
	result := gateway.NewResult()
	if r.Ref {
		result.SetRef(ref)
	}
	for _, key := range r.Refs {
		result.AddRef(key, ref)
	}
	for key, value := range r.Metadata {
		result.AddMeta(key, []byte(value))
	}
	return result, nil
}

// listBlobs prints the daemon's blobs, as its content service lists them.
func listBlobs(ctx context.Context, c *client.Client, filters []string) error {
	stream, err := c.ContentClient().List(ctx, &contentapi.ListContentRequest{Filters: filters})
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for {
		batch, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, info := range batch.Info {
			if err := out.Encode(map[string]any{"digest": info.Digest, "size": info.Size, "labels": info.Labels}); err != nil {
				return err
			}
		}
	}
}
