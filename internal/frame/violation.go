package frame

// Close codes of RFC 6455 §7.4.1 and the IANA registry.
const (
	CodeNormal        = 1000
	CodeGoingAway     = 1001
	CodeProtocol      = 1002
	CodeUnsupported   = 1003
	CodeNoStatus      = 1005 // never on the wire: the close frame had no code
	CodeAbnormal      = 1006 // never on the wire: the connection was lost
	CodeInvalidData   = 1007
	CodePolicy        = 1008
	CodeTooBig        = 1009
	CodeInternal      = 1011
	CodeRestart       = 1012
	CodeTryAgain      = 1013
	codeTLSHandshake  = 1015 // never on the wire
	codeLastRegistry  = 1014 // bad gateway
	codeFirstLibrary  = 3000
	codeLastPrivate   = 4999
	maxCloseReason    = MaxControl - 2
	closeCodeReserved = 1004
)

// Violation is a rule of RFC 6455 or RFC 7692 that the peer broke, or a limit
// that its compressed message went beyond.
type Violation uint8

const (
	ReservedBits Violation = iota + 1
	ReservedOpcode
	FragmentedControl
	LongControl
	Unmasked
	MaskedByServer
	LengthForm
	LengthOverflow
	CloseLength
	CloseCode
	CloseReason
	OrphanContinuation
	NestedMessage
	InvalidText

	// CorruptDeflate is compressed data that is not deflate, that ends inside a
	// block, or that reaches back before its window. RFC 7692 names no code for it.
	// 1007 is RFC 6455 §7.4.1's for data that is not what its message claims to be,
	// and what other servers send; the framing itself, 1002's matter, was right.
	CorruptDeflate
	// InflatedTooBig is a message that inflates to more than its limit.
	InflatedTooBig
	// InflatedRatio is one that inflates beyond its ratio. Not 1009: a smaller
	// message of the same kind would fare no better, and no size was exceeded.
	InflatedRatio
)

// One row per violation: close code and the reason sent with it.
var violations = [...]struct {
	code   int
	reason string
}{
	ReservedBits:       {CodeProtocol, "Reserved bits set"},
	ReservedOpcode:     {CodeProtocol, "Reserved opcode"},
	FragmentedControl:  {CodeProtocol, "Fragmented control frame"},
	LongControl:        {CodeProtocol, "Control frame too long"},
	Unmasked:           {CodeProtocol, "Frame not masked"},
	MaskedByServer:     {CodeProtocol, "Frame masked"},
	LengthForm:         {CodeProtocol, "Length not in shortest form"},
	LengthOverflow:     {CodeProtocol, "Length overflow"},
	CloseLength:        {CodeProtocol, "Close payload of one byte"},
	CloseCode:          {CodeProtocol, "Invalid close code"},
	CloseReason:        {CodeInvalidData, "Close reason is not UTF-8"},
	OrphanContinuation: {CodeProtocol, "Continuation without a message"},
	NestedMessage:      {CodeProtocol, "New message inside a fragmented one"},
	InvalidText:        {CodeInvalidData, "Text is not UTF-8"},
	CorruptDeflate:     {CodeInvalidData, "Compressed data is corrupt"},
	InflatedTooBig:     {CodeTooBig, "Message too large"},
	InflatedRatio:      {CodePolicy, "Compression ratio too high"},
}

// Code is the close code to fail the connection with (§7.1.7).
func (v Violation) Code() int { return violations[v].code }

// Error is the reason text, short enough for a close frame.
func (v Violation) Error() string { return violations[v].reason }
