package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	atOnce = 4
	slow   = 3 * time.Second // is said
)

var entitlements = []string{"network.host", "security.insecure"}

// A request to a daemon's Dockerfile frontend that nothing is run for.
type question struct {
	ID     string
	Opts   map[string]string
	Locals map[string]string            // local source → folder
	Inputs map[string]map[string]string // frontend input → path → content
}

// What it was turned into: graphs by platform ("" if there is but one result), or an error.
type lowered struct {
	ID       string
	Refs     map[string][]*vertex `json:",omitempty"`
	Metadata map[string]string    `json:",omitempty"`
	Error    *failure             `json:",omitempty"`
	Warnings []warning            `json:",omitempty"`
}

type failure struct {
	Code    string
	Message string
	Sources []place  `json:",omitempty"`
	Details []string `json:",omitempty"`
}

type place struct {
	File  string
	Lines []int32
}

type warning struct {
	Short  string
	Detail []string `json:",omitempty"`
	URL    string   `json:",omitempty"`
	Lines  []int32  `json:",omitempty"`
}

// One operation of a graph. Digests are replaced by positions in the list, random ids by numbers.
type vertex struct {
	Op          json.RawMessage
	Inputs      []string          `json:",omitempty"`
	Description map[string]string `json:",omitempty"`
	Group       string            `json:",omitempty"`
	Resources   json.RawMessage   `json:",omitempty"`
	NoCache     bool              `json:",omitempty"`
	Places      []place           `json:",omitempty"`
}

// lower answers the questions on stdin, one JSON object a line, in order.
func lower(ctx context.Context, c *client.Client) error {
	var questions []question
	in := json.NewDecoder(os.Stdin)
	for in.More() {
		var q question
		if err := in.Decode(&q); err != nil {
			return err
		}
		questions = append(questions, q)
	}
	answers := make([]lowered, len(questions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, q := range questions {
		group.Go(func() error {
			began := time.Now()
			answer, err := ask(ctx, c, q)
			if took := time.Since(began); took > slow {
				fmt.Fprintf(os.Stderr, "peer: %s took %.1f s\n", q.ID, took.Seconds())
			}
			if err != nil {
				return fmt.Errorf("%s: %w", q.ID, err)
			}
			answer.ID = q.ID
			answers[i] = *answer
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, answer := range answers {
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

func ask(ctx context.Context, c *client.Client, q question) (*lowered, error) {
	mounts := map[string]fsutil.FS{}
	for name, dir := range q.Locals {
		files, err := fsutil.NewFS(dir)
		if err != nil {
			return nil, err
		}
		mounts[name] = files
	}
	request := gateway.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: q.Opts, FrontendInputs: map[string]*pb.Definition{}}
	for name, files := range q.Inputs {
		def, err := inputOf(ctx, files)
		if err != nil {
			return nil, err
		}
		request.FrontendInputs[name] = def
	}
	answer := &lowered{}
	seen := make(chan *client.SolveStatus)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		for status := range seen {
			for _, w := range status.Warnings {
				answer.Warnings = append(answer.Warnings, warningOf(w))
			}
		}
		return nil
	})
	group.Go(func() error {
		var odd error // of this program, not of the build
		_, err := c.Build(ctx, client.SolveOpt{LocalMounts: mounts, AllowedEntitlements: entitlements}, "peer", func(ctx context.Context, gw gateway.Client) (*gateway.Result, error) {
			result, err := gw.Solve(ctx, request)
			if err != nil {
				return nil, err
			}
			odd = answer.take(ctx, result)
			return gateway.NewResult(), nil
		}, seen)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			answer.Error = failureOf(err)
		}
		return odd
	})
	return answer, group.Wait()
}

func inputOf(ctx context.Context, files map[string]string) (*pb.Definition, error) {
	state := llb.Scratch()
	for path, content := range files {
		state = state.File(llb.Mkfile(path, 0o644, []byte(content)))
	}
	def, err := state.Marshal(ctx, llb.LinuxAmd64)
	if err != nil {
		return nil, err
	}
	return def.ToPB(), nil
}

func (l *lowered) take(ctx context.Context, result *gateway.Result) error {
	l.Metadata = map[string]string{}
	for key, value := range result.Metadata {
		l.Metadata[key] = string(value)
	}
	l.Refs = map[string][]*vertex{}
	for platform, ref := range result.Refs {
		if err := l.add(ctx, platform, ref); err != nil {
			return err
		}
	}
	if result.Refs == nil {
		return l.add(ctx, "", result.Ref)
	}
	return nil
}

func (l *lowered) add(ctx context.Context, platform string, ref gateway.Reference) error {
	if ref == nil {
		l.Refs[platform] = nil
		return nil
	}
	state, err := ref.ToState()
	if err != nil {
		return err
	}
	def, err := state.Marshal(ctx)
	if err != nil {
		return err
	}
	l.Refs[platform], err = graphOf(def.ToPB())
	return err
}

type reader struct {
	def    *pb.Definition
	ops    map[string]*pb.Op
	names  map[string]string
	groups map[string]string
	out    []*vertex
}

// graphOf lists a graph, inputs first, in an order that depends on nothing but its shape.
func graphOf(def *pb.Definition) ([]*vertex, error) {
	r := &reader{def: def, ops: map[string]*pb.Op{}, names: map[string]string{}, groups: map[string]string{}}
	var last *pb.Op
	for _, raw := range def.Def {
		op := &pb.Op{}
		if err := proto.Unmarshal(raw, op); err != nil {
			return nil, err
		}
		r.ops[digest.FromBytes(raw).String()] = op
		last = op
	}
	if last == nil || len(last.Inputs) == 0 {
		return nil, nil
	}
	if err := r.visit(last.Inputs[0].Digest); err != nil {
		return nil, err
	}
	return r.out, nil
}

func (r *reader) visit(id string) error {
	if _, known := r.names[id]; known {
		return nil
	}
	op, ok := r.ops[id]
	if !ok {
		return fmt.Errorf("no op %s", id)
	}
	v := &vertex{}
	for _, input := range op.Inputs {
		if err := r.visit(input.Digest); err != nil {
			return err
		}
		name := r.names[input.Digest]
		if input.Index != 0 {
			name = fmt.Sprintf("%s:%d", name, input.Index)
		}
		v.Inputs = append(v.Inputs, name)
	}
	var err error
	if v.Op, err = opJSON(op); err != nil {
		return err
	}
	if err := r.describe(id, v); err != nil {
		return err
	}
	r.out = append(r.out, v)
	r.names[id] = fmt.Sprintf("v%d", len(r.out))
	return nil
}

func opJSON(op *pb.Op) (json.RawMessage, error) {
	op = proto.Clone(op).(*pb.Op)
	op.Inputs = nil
	op.Constraints = nil
	if source := op.GetSource(); source != nil {
		if _, ok := source.Attrs[pb.AttrLocalSessionID]; ok {
			source.Attrs[pb.AttrLocalSessionID] = "SESSION"
		}
		if _, ok := source.Attrs[pb.AttrOCILayoutSessionID]; ok {
			source.Attrs[pb.AttrOCILayoutSessionID] = "SESSION"
		}
	}
	return compact(op)
}

// compact undoes the random blanks of protojson.
func compact(m proto.Message) (json.RawMessage, error) {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Compact(&out, raw)
	return out.Bytes(), err
}

func (r *reader) describe(id string, v *vertex) error {
	if meta := r.def.Metadata[id]; meta != nil {
		v.Description = meta.Description
		v.NoCache = meta.IgnoreCache
		if group := meta.ProgressGroup; group != nil {
			if _, known := r.groups[group.Id]; !known {
				r.groups[group.Id] = fmt.Sprintf("g%d", len(r.groups)+1)
			}
			v.Group = strings.TrimSpace(fmt.Sprintf("%s %s", r.groups[group.Id], group.Name))
		}
		if meta.LinuxResources != nil {
			var err error
			if v.Resources, err = compact(meta.LinuxResources); err != nil {
				return err
			}
		}
	}
	for _, location := range r.def.Source.GetLocations()[id].GetLocations() {
		info := r.def.Source.Infos[location.SourceIndex]
		v.Places = append(v.Places, place{info.Filename, linesOf(location.Ranges)})
	}
	return nil
}

func linesOf(ranges []*pb.Range) []int32 {
	var lines []int32
	for _, one := range ranges {
		lines = append(lines, one.Start.Line)
		if one.End.Line != one.Start.Line {
			lines = append(lines, -one.End.Line)
		}
	}
	return lines
}

func failureOf(err error) *failure {
	f := &failure{Code: grpcerrors.Code(err).String(), Message: err.Error()}
	for _, source := range errdefs.Sources(err) {
		one := place{source.GetInfo().GetFilename(), linesOf(source.GetRanges())}
		if !slices.ContainsFunc(f.Sources, func(o place) bool { return reflect.DeepEqual(o, one) }) {
			f.Sources = append(f.Sources, one)
		}
	}
	return f
}

func warningOf(w *client.VertexWarning) warning {
	out := warning{Short: string(w.Short), URL: w.URL, Lines: linesOf(w.Range)}
	for _, detail := range w.Detail {
		out.Detail = append(out.Detail, string(detail))
	}
	return out
}
