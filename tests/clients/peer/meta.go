package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gatewayapi "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/solver/pb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// What a daemon says of an image to a client that drives a build.
type meta struct {
	Digest    string // of ResolveSourceMeta
	Config    string
	OldDigest string // of ResolveImageConfig
	OldConfig string
	Modes     map[string]string // resolve mode → digest, or the error
}

// resolveImage asks for an image in every way there is.
func resolveImage(ctx context.Context, c *client.Client, addr, image string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	found := meta{Modes: map[string]string{}}
	ref := identity.NewID()
	run := func(ctx context.Context, g gateway.Client) (*gateway.Result, error) {
		op := &pb.SourceOp{Identifier: "docker-image://" + image}
		answer, err := g.ResolveSourceMetadata(ctx, op, sourceresolver.Opt{})
		if err != nil {
			return nil, err
		}
		found.Digest, found.Config = answer.Image.Digest.String(), string(answer.Image.Config)
		for _, mode := range []string{"default", "pull", "local"} {
			opt := sourceresolver.Opt{ImageOpt: &sourceresolver.ResolveImageOpt{ResolveMode: mode}}
			if answer, err := g.ResolveSourceMetadata(ctx, op, opt); err != nil {
				found.Modes[mode] = err.Error()
			} else {
				found.Modes[mode] = answer.Image.Digest.String()
			}
		}
		old := metadata.AppendToOutgoingContext(ctx, "buildkit-controlapi-buildid", ref)
		config, err := gatewayapi.NewLLBBridgeClient(conn).ResolveImageConfig(old,
			&gatewayapi.ResolveImageConfigRequest{Ref: image, ResolveMode: "default"})
		if err != nil {
			return nil, err
		}
		found.OldDigest, found.OldConfig = config.Digest, string(config.Config)
		return gateway.NewResult(), nil
	}
	if _, err := c.Build(ctx, client.SolveOpt{Ref: ref}, "peer", run, nil); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
