package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/moby/buildkit/session/filesync"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
	"google.golang.org/grpc"
)

type stream = filesync.FileSync_DiffCopyServer

// counter serves a folder and counts packets in both directions, as they are on the wire.
type counter struct {
	dir string

	mu       sync.Mutex
	sent     map[string]int
	received map[string]int
	bytes    int
}

type report struct {
	Sent, Received map[string]int
	Bytes          int // of file content
}

func (c *counter) seen() report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return report{c.sent, c.received, c.bytes}
}

func (c *counter) Register(server *grpc.Server) { filesync.RegisterFileSyncServer(server, c) }

func (c *counter) TarStream(stream) error { return fmt.Errorf("not served") }

func (c *counter) DiffCopy(s stream) error {
	c.mu.Lock()
	if c.sent == nil {
		c.sent, c.received = map[string]int{}, map[string]int{}
	}
	c.mu.Unlock()
	files, err := fsutil.NewFS(c.dir)
	if err != nil {
		return err
	}
	return fsutil.Send(s.Context(), &counting{s, c}, files, nil)
}

type counting struct {
	stream
	to *counter
}

func (c *counting) Context() context.Context { return c.stream.Context() }

func (c *counting) SendMsg(m any) error {
	packet := m.(*types.Packet)
	c.to.mu.Lock()
	c.to.sent[packet.Type.String()]++
	if packet.Type == types.PACKET_DATA {
		c.to.bytes += len(packet.Data)
	}
	c.to.mu.Unlock()
	return c.stream.SendMsg(m)
}

func (c *counting) RecvMsg(m any) error {
	err := c.stream.RecvMsg(m)
	if err == nil {
		c.to.mu.Lock()
		c.to.received[m.(*types.Packet).Type.String()]++
		c.to.mu.Unlock()
	}
	return err
}
