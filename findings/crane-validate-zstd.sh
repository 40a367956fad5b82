#!/usr/bin/env bash
# crane is made of the library go-containerregistry, which makes images with zstd layers, and unpacks them. Its validate
# takes every layer for gzip, whatever the manifest says, and reports an image that the library itself wrote as broken,
# with an error that sounds like damaged data. Who checks what a builder pushes with `crane validate` will search the
# fault in the builder; `crane validate --fast`, which leaves the layers alone, has nothing to say.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
go=$("$(dirname "${BASH_SOURCE[0]}")/../tests/clients/go-tool")

mkdir "$work/check"
cd "$work/check"
cat >main.go <<'GO'
package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	kind, folder := compression.Compression(os.Args[1]), os.Args[2]
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	archive.WriteHeader(&tar.Header{Name: "hello", Mode: 0o644, Size: 6})
	archive.Write([]byte("hello\n"))
	archive.Close()
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil }
	media := types.OCILayer
	if kind == compression.ZStd {
		media = types.OCILayerZStd
	}
	layer := must(tarball.LayerFromOpener(open, tarball.WithCompression(kind), tarball.WithMediaType(media)))
	image := mutate.MediaType(must(mutate.AppendLayers(empty.Image, layer)), types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: image})
	path := must(layout.Write(folder, index))
	written := must(path.Image(must(image.Digest())))
	entry := must(tar.NewReader(mutate.Extract(written)).Next())
	fmt.Println(must(must(written.Layers())[0].MediaType()))
	fmt.Println(entry.Name, entry.Size)
	for _, options := range [][]validate.Option{nil, {validate.Fast}} {
		if err := validate.Image(written, options...); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("valid")
		}
	}
}
GO
export GOTOOLCHAIN=local GOFLAGS=-mod=mod GOWORK=off
"$go" mod init check >"$work/log" 2>&1
{ "$go" get github.com/google/go-containerregistry@v0.22.1 && "$go" build -o check .; } >"$work/log" 2>&1 ||
  { cat "$work/log"; exit 1; }
"$go" list -m github.com/google/go-containerregistry

say "expected: both images are valid"
check() { # COMPRESSION, and what is wanted of type and validate
  mapfile -t seen < <(./check "$1" "$work/$1")
  expect "$1: type of the layer" "${seen[0]##*.}" "$2"
  expect "$1: unpacked" "${seen[1]}" "hello 6"
  expect "$1: validate" "${seen[2]}" "$3"
  expect "$1: validate, fast" "${seen[3]}" valid
}
check gzip tar+gzip valid
check zstd tar+zstd "validating layers: gzip: invalid header"
