package bridge

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers of four bytes (NFT_REG32_00 on): a key is built from keyReg on, what a map has for it is put at dataReg.
const (
	keyReg  = unix.NFT_REG32_00
	dataReg = unix.NFT_REG32_08
)

// local is `fib daddr type local`: the destination is an address of the node.
var local = []expr.Any{
	&expr.Fib{Register: keyReg, FlagDADDR: true, ResultADDRTYPE: true},
	&expr.Cmp{Op: expr.CmpOpEq, Register: keyReg, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
}

// translated is `ct status dnat`.
var translated = []expr.Any{
	&expr.Ct{Register: keyReg, Key: expr.CtKeySTATUS},
	&expr.Bitwise{SourceRegister: keyReg, DestRegister: keyReg, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(ipsDstNAT), Xor: make([]byte, 4)},
	&expr.Cmp{Op: expr.CmpOpNeq, Register: keyReg, Data: make([]byte, 4)},
}

// ipsDstNAT is IPS_DST_NAT of nf_conntrack_common.h.
const ipsDstNAT = 1 << 5

// rule starts a rule for packets of the family.
func (f *familyRules) rule(rest ...[]expr.Any) []expr.Any {
	return join([]expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: keyReg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: keyReg, Data: []byte{f.proto}},
	}, join(rest...))
}

// toPod is `dnat to [daddr .] meta l4proto . th dport map @m`.
func (f *familyRules) toPod(m *nftables.Set, byAddress bool) []expr.Any {
	words := uint32(f.subnet.Addr().BitLen() / 32)
	reg := uint32(keyReg)
	var list []expr.Any
	if byAddress {
		list = append(list, header(reg, f.daddr, words*4))
		reg += words
	}
	return append(list,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, DestRegister: reg + 1, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: keyReg, DestRegister: dataReg, IsDestRegSet: true, SetName: m.Name, SetID: m.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.proto), RegAddrMin: dataReg, RegProtoMin: dataReg + words},
	)
}

// inPrefix compares the address at an offset of the header with a prefix.
func inPrefix(offset uint32, p netip.Prefix, op expr.CmpOp) []expr.Any {
	raw := p.Addr().AsSlice()
	mask := make([]byte, len(raw))
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	size := uint32(len(raw))
	return []expr.Any{
		header(keyReg, offset, size),
		&expr.Bitwise{SourceRegister: keyReg, DestRegister: keyReg, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: op, Register: keyReg, Data: raw},
	}
}

func header(reg, offset, size uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, DestRegister: reg, Offset: offset, Len: size}
}

func ifname(key expr.MetaKey, name string, op expr.CmpOp) []expr.Any {
	raw := make([]byte, unix.IFNAMSIZ)
	copy(raw, name)
	return []expr.Any{&expr.Meta{Key: key, Register: keyReg}, &expr.Cmp{Op: op, Register: keyReg, Data: raw}}
}

func one(e expr.Any) []expr.Any { return []expr.Any{e} }

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
