package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/moby/buildkit/session/filesync"
	"github.com/tonistiigi/fsutil/types"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

// faulty plays a sender that breaks the protocol.
type faulty struct{ play func(stream) error }

func (f *faulty) Register(server *grpc.Server) { filesync.RegisterFileSyncServer(server, f) }
func (f *faulty) TarStream(stream) error       { return fmt.Errorf("not served") }
func (f *faulty) DiffCopy(s stream) error      { return f.play(s) }

const (
	dirBits     = uint32(os.ModeDir | 0o755)
	symlinkBits = uint32(os.ModeSymlink | 0o777)
)

func stat(path string, mode uint32) *types.Stat { return &types.Stat{Path: path, Mode: mode} }

func sized(path string, size int64) *types.Stat {
	return &types.Stat{Path: path, Mode: 0o644, Size: size}
}

func linked(path string, mode uint32, target string) *types.Stat {
	return &types.Stat{Path: path, Mode: mode, Linkname: target}
}

// lists sends a listing, then answers every request with the given content, and ends as a sender should.
func lists(content string, stats ...*types.Stat) func(stream) error {
	return func(s stream) error {
		for _, one := range stats {
			if err := s.Send(&types.Packet{Type: types.PACKET_STAT, Stat: one}); err != nil {
				return err
			}
		}
		if err := s.Send(&types.Packet{Type: types.PACKET_STAT}); err != nil {
			return err
		}
		return serve(s, content)
	}
}

func serve(s stream, content string) error {
	for {
		packet, err := s.Recv()
		if err != nil {
			return err
		}
		switch packet.Type {
		case types.PACKET_REQ:
			if err := data(s, packet.ID, content); err != nil {
				return err
			}
			if err := data(s, packet.ID, ""); err != nil {
				return err
			}
		case types.PACKET_FIN:
			return s.Send(&types.Packet{Type: types.PACKET_FIN})
		case types.PACKET_ERR:
			return fmt.Errorf("error from receiver: %s", packet.Data)
		}
	}
}

func data(s stream, id uint32, content string) error {
	return s.Send(&types.Packet{Type: types.PACKET_DATA, ID: id, Data: []byte(content)})
}

// Each of these a receiver must refuse.
var faults = map[string]func(stream) error{
	"path-climbs":         lists("", stat("../escaped", 0o644)),
	"path-climbs-inside":  lists("", stat("a", dirBits), stat("a/../../escaped", 0o644)),
	"path-absolute":       lists("", stat("/escaped", 0o644)),
	"path-empty":          lists("", stat("", 0o644)),
	"path-dot":            lists("", stat(".", dirBits)),
	"path-unclean":        lists("", stat("a", dirBits), stat("a//b", 0o644)),
	"path-nul":            lists("", stat("a\x00b", 0o644)),
	"name-too-long":       lists("", stat(strings.Repeat("x", 300), 0o644)),
	"order-wrong":         lists("", stat("b", 0o644), stat("a", 0o644)),
	"order-twice":         lists("", stat("a", 0o644), stat("a", 0o644)),
	"parent-missing":      lists("", stat("a/b", 0o644)),
	"parent-is-file":      lists("", stat("a", 0o644), stat("a/b", 0o644)),
	"parent-is-symlink":   lists("", linked("a", symlinkBits, "/"), stat("a/escaped", 0o644)),
	"hardlink-to-nothing": lists("", linked("a", 0o644, "missing")),
	"hardlink-climbs":     lists("", linked("a", 0o644, "../../etc/passwd")),
	"hardlink-to-later":   lists("", linked("a", 0o644, "b"), stat("b", 0o644)),
	"hardlink-to-folder":  lists("", stat("a", dirBits), linked("b", 0o644, "a")),
	"content-too-short":   lists("12", sized("a", 3)),
	"content-too-long":    lists("1234", sized("a", 3)),
	"size-negative":       lists("", sized("a", -1)),
	"data-never-asked-for": func(s stream) error {
		if err := s.Send(&types.Packet{Type: types.PACKET_STAT, Stat: stat("a", dirBits)}); err != nil {
			return err
		}
		if err := data(s, 0, "surprise"); err != nil {
			return err
		}
		return lists("")(s)
	},
	"data-of-unknown-file": func(s stream) error {
		if err := data(s, 4_000_000_000, "surprise"); err != nil {
			return err
		}
		return lists("")(s)
	},
	"error-from-sender": func(s stream) error {
		if err := s.Send(&types.Packet{Type: types.PACKET_ERR, Data: []byte("the disk is on fire")}); err != nil {
			return err
		}
		return serve(s, "")
	},
	"ends-in-listing": func(s stream) error {
		return s.Send(&types.Packet{Type: types.PACKET_STAT, Stat: stat("a", 0o644)})
	},
	"ends-in-content": func(s stream) error {
		for _, packet := range []*types.Packet{
			{Type: types.PACKET_STAT, Stat: sized("a", 100)},
			{Type: types.PACKET_STAT},
		} {
			if err := s.Send(packet); err != nil {
				return err
			}
		}
		packet, err := s.Recv()
		if err != nil {
			return err
		}
		return data(s, packet.ID, "half of it")
	},
	"malformed": func(s stream) error {
		// On the wire a packet whose listing entry is no message.
		if err := s.SendMsg(&anypb.Any{Value: []byte{0xff, 0xff, 0xff}}); err != nil {
			return err
		}
		return serve(s, "")
	},
	"unknown-packet": func(s stream) error {
		if err := s.Send(&types.Packet{Type: 77}); err != nil {
			return err
		}
		return serve(s, "")
	},
}
