package gateway

import (
	"encoding/hex"
	"hash/maphash"

	"github.com/halley-im/halley/pkg/cluster"
)

// keys is what one shard of the directory knows of its keys, without a Go map and
// without a pointer per key: a record of 24 bytes, 4 bytes of index and the text,
// in three slices. Measured with UUID keys and 10 digits of mid: 66 bytes a
// key (BenchmarkDirectoryBytes), where a map[string] with the strings took 170.
//
// A record without its place in the index belongs to a session that a newer one
// has replaced, until that session lets go of it.
type keys struct {
	seed    maphash.Seed
	index   []uint32 // open addressing, linear probing: number of a record; 0 is empty. A power of two long
	linked  int      // records in index
	records []record // number 0 is not used
	free    uint32   // first of the free records, linked by text
	text    []byte   // keys and mids of the records
	dead    int      // bytes of text that no record refers to
}

// record is a session as its key knows it.
type record struct {
	stamp  cluster.Stamp // of its route; 0: the record is free
	id     sessionID
	text   uint32 // where key and mid stand, one behind the other; of a free record: the next free one
	keyLen uint16 // as stored
	midLen uint8
	loop   uint8
}

const (
	// uuidLen and packedLen: a key in the canonical form of a UUID, as logic makes
	// them, is stored as its 16 bytes with the flag isUUID in keyLen.
	uuidLen   = 36
	packedLen = 16
	isUUID    = 1 << 15
)

// maxStored bounds a key as it is looked up: app, separator, name.
const maxStored = 64 + 1 + maxName

// packed is a key in the form in which it is stored and compared.
type packed struct {
	buf [maxStored]byte
	n   uint16 // with isUUID
}

func (p *packed) bytes() []byte { return p.buf[:p.n&^isUUID] }

// pack prepares key for a look-up. ok is false for one that is too long to be
// here.
func (p *packed) pack(key string) (ok bool) {
	if len(key) > len(p.buf) {
		return false
	}
	if len(key) == uuidLen && packUUID(&p.buf, key) {
		p.n = packedLen | isUUID
		return true
	}
	p.n = uint16(copy(p.buf[:], key))
	return true
}

// packUUID decodes a canonical UUID: lower case, dashes where they belong.
func packUUID(dst *[maxStored]byte, key string) bool {
	n := 0
	for i := 0; i < uuidLen; {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if key[i] != '-' {
				return false
			}
			i++
			continue
		}
		hi, lo := hexDigit(key[i]), hexDigit(key[i+1])
		if hi|lo > 0xf {
			return false
		}
		dst[n] = hi<<4 | lo
		n++
		i += 2
	}
	return true
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	default:
		return 0xff
	}
}

// unpack is the key of a record in the form in which it came.
func (k *keys) unpack(r *record) string {
	b := k.key(r)
	if r.keyLen&isUUID == 0 {
		return string(b)
	}
	var out [uuidLen]byte
	hex.Encode(out[:8], b[:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:], b[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

func (k *keys) key(r *record) []byte { return k.text[r.text:][:r.keyLen&^isUUID] }

func (k *keys) mid(r *record) string {
	return string(k.text[int(r.text)+int(r.keyLen&^isUUID):][:r.midLen])
}

// find returns the place in the index where p is, or where it would go.
func (k *keys) find(p *packed) (place int, number uint32) {
	mask := len(k.index) - 1
	for place = k.home(p.bytes()); ; place = (place + 1) & mask {
		number = k.index[place]
		if number == 0 {
			return place, 0
		}
		if r := &k.records[number]; r.keyLen == p.n && string(k.key(r)) == string(p.bytes()) {
			return place, number
		}
	}
}

func (k *keys) home(key []byte) int {
	return int(maphash.Bytes(k.seed, key)) & (len(k.index) - 1)
}

// get returns the record that holds p, nil when there is none.
func (k *keys) get(p *packed) *record {
	if len(k.index) == 0 {
		return nil
	}
	if _, number := k.find(p); number != 0 {
		return &k.records[number]
	}
	return nil
}

// add makes a record that is not in the index yet.
func (k *keys) add(p *packed, mid string, r record) (number uint32) {
	need := len(p.bytes()) + len(mid)
	if len(k.text)+need > cap(k.text) {
		k.rewrite(need)
	}
	r.text, r.keyLen, r.midLen = uint32(len(k.text)), p.n, uint8(len(mid))
	k.text = append(append(k.text, p.bytes()...), mid...)
	if number = k.free; number != 0 {
		k.free = k.records[number].text
		k.records[number] = r
		return number
	}
	if len(k.records) == cap(k.records) {
		k.records = append(make([]record, 0, slack(len(k.records)+1)), k.records...)
	}
	if len(k.records) == 0 {
		k.records = append(k.records, record{}) // number 0
	}
	k.records = append(k.records, r)
	return uint32(len(k.records) - 1)
}

// slack is the capacity for n, an eighth more: Go's doubling of small slices would
// be most of the cost of a key.
func slack(n int) int { return n + n/8 + 16 }

// rewrite copies the text that is in use, so that need more bytes fit.
func (k *keys) rewrite(need int) {
	text := make([]byte, 0, slack(len(k.text)-k.dead+need))
	for i := range k.records {
		if r := &k.records[i]; r.stamp != 0 {
			at := uint32(len(text))
			text = append(text, k.text[r.text:][:int(r.keyLen&^isUUID)+int(r.midLen)]...)
			r.text = at
		}
	}
	k.text, k.dead = text, 0
}

// link makes number the holder of p; it returns the one that was, 0 if none.
func (k *keys) link(p *packed, number uint32) (before uint32) {
	if 4*(k.linked+1) > 3*len(k.index) {
		k.reindex(max(16, 2*len(k.index)))
	}
	place, before := k.find(p)
	if k.index[place] = number; before == 0 {
		k.linked++
	}
	return before
}

func (k *keys) reindex(size int) {
	old := k.index
	k.index = make([]uint32, size)
	for _, number := range old {
		if number != 0 {
			k.insert(number)
		}
	}
}

// insert puts a number whose key is not in the index into it.
func (k *keys) insert(number uint32) {
	mask := len(k.index) - 1
	place := k.home(k.key(&k.records[number]))
	for k.index[place] != 0 {
		place = (place + 1) & mask
	}
	k.index[place] = number
}

// unlink takes number out of the index if it is there.
func (k *keys) unlink(number uint32) {
	if len(k.index) == 0 {
		return
	}
	mask := len(k.index) - 1
	place := k.home(k.key(&k.records[number]))
	for k.index[place] != number {
		if k.index[place] == 0 {
			return // it was replaced
		}
		place = (place + 1) & mask
	}
	k.index[place] = 0
	k.linked--
	// What follows without a gap may have been pushed away from its home.
	for next := (place + 1) & mask; k.index[next] != 0; next = (next + 1) & mask {
		moved := k.index[next]
		k.index[next] = 0
		k.insert(moved)
	}
}

// drop frees a record.
func (k *keys) drop(number uint32) {
	r := &k.records[number]
	k.dead += int(r.keyLen&^isUUID) + int(r.midLen)
	*r = record{text: k.free}
	k.free = number
	switch live := len(k.text) - k.dead; {
	case live == 0:
		*k = keys{seed: k.seed}
	case k.dead > live+4096:
		k.rewrite(0)
	}
}
