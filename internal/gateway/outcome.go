package gateway

import (
	"errors"
	"net/http"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/integration"
)

// What clients are told: handshake refusals (§1.4 of the reference) and error
// frames (§3.3). The reason in clear goes to the log only, as on AWS.
const (
	textForbidden   = "Forbidden"
	textInternal    = "Internal server error"
	textTimeout     = "Endpoint request timed out"
	textThrottled   = "Too Many Requests"
	textUnsupported = "Unsupported Media Type"
	textInvalid     = "Invalid request body"
)

// Close code and reason of a stage that is gone and of our own end (§1.6).
const (
	goingAway       = 1001
	goingAwayReason = "Going away"
	lost            = 1006
	policyViolation = 1008 // too many requests from one client
	tooBig          = 1009
)

// refusal is an HTTP answer instead of the 101.
type refusal struct {
	status    int
	errorType string // x-amzn-errortype
	body      []byte

	why         string // for the log; "" when it is said elsewhere
	integration bool   // it is $connect's own answer
}

func refuse(status int, text string) refusal {
	r := refusal{status: status, errorType: errorTypes[status]}
	if status != http.StatusNotModified {
		r.body = append(event.AppendString([]byte(`{"message":`), text), '}')
	}
	return r
}

// errorTypes are the x-amzn-errortype values by status.
var errorTypes = map[int]string{
	http.StatusBadRequest:          "BadRequestException",
	http.StatusUnauthorized:        "UnauthorizedException",
	http.StatusForbidden:           "ForbiddenException",
	http.StatusTooManyRequests:     "TooManyRequestsException",
	http.StatusInternalServerError: "InternalServerErrorException",
	http.StatusBadGateway:          "InternalServerErrorException",
	http.StatusServiceUnavailable:  "ServiceUnavailableException",
	http.StatusGatewayTimeout:      "InternalServerErrorException",
}

// responseTypes are API Gateway's names for its own refusals, $context.error.responseType
// (Developer Guide, "Gateway response types").
var responseTypes = map[int]string{
	http.StatusBadRequest:          "BAD_REQUEST_PARAMETERS",
	http.StatusUnauthorized:        "UNAUTHORIZED",
	http.StatusForbidden:           "ACCESS_DENIED",
	http.StatusTooManyRequests:     "THROTTLED",
	http.StatusInternalServerError: "DEFAULT_5XX",
}

// refuseStatus passes a $connect status through. The function's own body is not
// forwarded; the text is REST's for that status (Appendix B, B1).
func refuseStatus(status int) refusal {
	text := http.StatusText(status)
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway:
		text = textInternal
	case http.StatusGatewayTimeout:
		text = textTimeout
	case 0:
		status, text = http.StatusBadGateway, textInternal
	}
	return refuse(status, text)
}

// refuseError maps a failed $connect integration.
func refuseError(err error, connectionID, requestID string) refusal {
	switch fault.KindOf(err) {
	case fault.Timeout:
		return refuse(http.StatusGatewayTimeout, textTimeout)
	case fault.Throttled:
		return refuse(http.StatusTooManyRequests, textThrottled)
	case fault.Upstream, fault.TooLarge:
		r := refuse(http.StatusBadGateway, textInternal)
		r.body = errorFrame(textInternal, connectionID, requestID)
		return r
	}
	return refuse(http.StatusInternalServerError, textInternal)
}

// frameText is the message of the error frame for a failed integration.
func frameText(err error) string {
	switch fault.KindOf(err) {
	case fault.Timeout:
		return textTimeout
	case fault.Throttled:
		return textThrottled
	case fault.BadRequest:
		if e, ok := errors.AsType[*fault.Error](err); ok && e.Type == integration.UnsupportedMedia {
			return textUnsupported
		}
	}
	return textInternal
}

// errorFrame is AWS's compact JSON with its irregular spaces, byte for byte.
func errorFrame(text, connectionID, requestID string) []byte {
	b := make([]byte, 0, 128)
	b = append(b, `{"message": `...)
	b = event.AppendString(b, text)
	b = append(b, `, "connectionId":`...)
	b = event.AppendString(b, connectionID)
	b = append(b, `, "requestId":`...)
	b = event.AppendString(b, requestID)
	return append(b, '}')
}
