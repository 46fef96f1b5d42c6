package ws

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// UpgradeError says why a request was not upgraded. The answer that tells the
// client is appended where the error is returned.
type UpgradeError struct {
	Status int    // of the HTTP answer
	Reason string // its body: what is wrong and what is allowed

	answer string // all of it
}

func (e *UpgradeError) Error() string { return "ws: " + e.Reason }

// refuse makes an UpgradeError. header is lines, each ended by CRLF. Nothing of
// a request is ever repeated in an answer.
func refuse(status int, connection, header, reason string) *UpgradeError {
	return &UpgradeError{status, reason, fmt.Sprintf("HTTP/1.1 %d %s\r\n"+
		"Content-Type: text/plain; charset=utf-8\r\n"+
		"Content-Length: %d\r\n"+
		"Connection: %s\r\n%s\r\n%s\n",
		status, http.StatusText(status), len(reason)+1, connection, header, reason)}
}

func badRequest(reason string) *UpgradeError {
	return refuse(http.StatusBadRequest, "close", "", reason)
}

// upgradeRequired says what to upgrade to, as RFC 9110 §15.5.22 and RFC 6455
// §4.4 want it.
func upgradeRequired(reason string) *UpgradeError {
	return refuse(http.StatusUpgradeRequired, "close, Upgrade",
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", reason)
}

// ErrHeadTooLarge says that a head does not end within MaxHead; AppendTooLarge
// has the answer.
var ErrHeadTooLarge error = errTooLarge

var (
	errTooLarge = refuse(http.StatusRequestHeaderFieldsTooLarge, "close", "",
		fmt.Sprintf("the request head is too large: %d bytes are allowed", MaxHead))

	errMethod = refuse(http.StatusMethodNotAllowed, "close", "Allow: GET\r\n",
		"a WebSocket is opened with GET, no other method")
	errPath = refuse(http.StatusNotFound, "close", "",
		"there is nothing at this path: WebSocket clients connect to "+Path)
	errForbidden = refuse(http.StatusForbidden, "close", "",
		"pages of this Origin may not connect: the server's configuration lists those that may")
	errVersion = refuse(http.StatusHTTPVersionNotSupported, "close", "",
		"a WebSocket is opened with HTTP/1.1, no other version")

	errNoUpgrade = upgradeRequired("this is for WebSocket clients: the Upgrade header must be websocket")
	errWSVersion = upgradeRequired("Sec-WebSocket-Version must be 13")

	errRequest    = badRequest("this is not an HTTP/1.1 request: the first line must be GET " + Path + " HTTP/1.1")
	errLine       = badRequest("malformed header line: NAME: VALUE is allowed, ended by CRLF, without control characters")
	errTarget     = badRequest("what is asked for must be a path that begins with /, with two hexadecimal digits behind each %")
	errHost       = badRequest("exactly one Host header with a host and perhaps a port is allowed")
	errConnection = badRequest("the Connection header must name upgrade")
	errKey        = badRequest("exactly one Sec-WebSocket-Key header with 16 bytes in base64 is allowed")
	errNoVersion  = badRequest("exactly one Sec-WebSocket-Version header is allowed, with 13")
	errOrigin     = badRequest("one Origin header at most is allowed")
	errCookie     = badRequest("one Cookie header at most is allowed")
	errProtocol   = badRequest("malformed Sec-WebSocket-Protocol: a list of tokens with commas between is allowed")
	errExtensions = badRequest("malformed Sec-WebSocket-Extensions: NAME; PARAMETER=VALUE is allowed, with commas between")
	errBody       = badRequest("a WebSocket is opened without a request body")
)

// AppendTooLarge appends the HTTP answer that belongs to ErrHeadTooLarge.
func AppendTooLarge(dst []byte) []byte { return append(dst, errTooLarge.answer...) }

// AppendBusy appends the HTTP answer for a client that a server has no room for:
// 503 with Retry-After (RFC 9110 §10.2.3), in whole seconds, rounded up, at least
// one, and a body of JSON. The connection must be closed after it. It is sent in
// place of the 101 that Upgrade appended, so that only valid requests get it.
func AppendBusy(dst []byte, retryAfter time.Duration, body []byte) []byte {
	seconds := max(1, (retryAfter+time.Second-1)/time.Second)
	dst = append(dst, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: "...)
	dst = strconv.AppendInt(dst, int64(seconds), 10)
	dst = append(dst, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	return append(append(dst, "\r\nConnection: close\r\n\r\n"...), body...)
}
