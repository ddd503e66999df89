package frame

import "unicode/utf8"

// ValidCode reports whether code may stand in a close frame: 1000–1003,
// 1007–1014 (IANA registry), 3000–4999. 1004 is reserved; 1005, 1006 and 1015
// never appear on the wire (RFC 6455 §7.4).
func ValidCode(code int) bool {
	switch code {
	case closeCodeReserved, CodeNoStatus, CodeAbnormal, codeTLSHandshake:
		return false
	}
	return code >= CodeNormal && code <= codeLastRegistry || code >= codeFirstLibrary && code <= codeLastPrivate
}

// ParseClose reads the payload of a close frame (§5.5.1). An empty payload is
// code 1005.
func ParseClose(payload []byte) (code int, reason string, err error) {
	switch len(payload) {
	case 0:
		return CodeNoStatus, "", nil
	case 1:
		return 0, "", CloseLength
	}
	code = int(payload[0])<<8 | int(payload[1])
	if !ValidCode(code) {
		return 0, "", CloseCode
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", CloseReason
	}
	return code, string(payload[2:]), nil
}

// AppendClose appends a close payload. A code that may not be sent gives an
// empty payload; a reason over 123 bytes is cut between two characters.
func AppendClose(dst []byte, code int, reason string) []byte {
	if !ValidCode(code) {
		return dst
	}
	return append(append(dst, byte(code>>8), byte(code)), cutReason(reason)...)
}

func cutReason(s string) string {
	if len(s) <= maxCloseReason {
		return s
	}
	end := maxCloseReason
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
