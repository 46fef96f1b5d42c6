package tlsloop

// A record (RFC 8446 §5.1, RFC 5246 §6.2.1):
//
//	 0      1         3        5
//	+------+---------+--------+----------------
//	| type | version | length | length bytes
//	+------+---------+--------+----------------
const (
	headerLen = 5

	// maxFragment is the longest that a record may say it is: 2^14 bytes and what
	// sealing may add in TLS 1.2 (RFC 5246 §6.2.3), which is more than in 1.3.
	maxFragment = 1<<14 + 2048

	typeHandshake = 22
)

// recordSize is the size of the record that b, of headerLen bytes at least, begins
// with. One that is too long ends with its header, at which crypto/tls refuses it:
// nothing of it is waited for.
func recordSize(b []byte) int {
	if n := int(b[3])<<8 | int(b[4]); n <= maxFragment {
		return headerLen + n
	}
	return headerLen
}

// helloArrived says that it is worth a goroutine to look at b: the first record of
// a handshake is whole, or this is none.
func helloArrived(b []byte) bool {
	if len(b) < headerLen {
		return false
	}
	return b[0] != typeHandshake || b[1] != 3 || len(b) >= recordSize(b)
}
