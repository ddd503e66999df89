// Package ws is the project's own conformance suite for WebSocket servers: a
// client on a raw TCP socket, written from the texts of RFC 6455, RFC 7692 and
// RFC 9112, and a table of named rows by section of those texts. It shares no
// code with the server's packages, so that a misreading on one side shows on the
// other.
//
//	go test ./conformance/ws                            every engine, in process
//	go test ./conformance/ws -ws ws://127.0.0.1:9001/   another server
//	LIVEGATE_WS_URL=ws://… go test ./conformance/ws     the same
//	LIVEGATE_WS_REPORT=rfc6455.md go test ./conformance/ws
//
// A server under test echoes every message with its type, bounds neither frames
// nor messages below 16 MiB, and may or may not negotiate permessage-deflate: the
// rows on compressed messages are skipped where it declines. Rows that look at
// what only the server knows (its own view of a close, the requests its HTTP
// handler saw) run in process only.
//
// A row says what is sent and what must come back: frames, the close code, the
// HTTP status, that the connection ends, or that it can still be used. Every
// wait is bounded. Where an RFC leaves a choice the row accepts each choice; where
// it demands a failed connection the row expects the close frame with the code
// the RFC names, and the end of the stream after it.
//
// The attack tests (TestS1… after the rows of the security matrix) drive each
// engine in process, with many connections, and state two bounds each: memory
// that may stay in use, and a control connection that must go on echoing.
package ws
