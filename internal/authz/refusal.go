package authz

import (
	"net/http"
	"strconv"

	"github.com/livegate/livegate/internal/event"
)

// Refusal is a no, as the client gets it (§1.4 of the reference) and as the log should
// have it.
type Refusal struct {
	Status  int
	Type    string // x-amzn-errortype
	Message string // for the client
	Body    []byte // of the answer, when it is not {"message":"…"}
	Cause   string // for the log; never holds what the client sent
}

func (r *Refusal) Error() string { return "refused with " + strconv.Itoa(r.Status) + ": " + r.text() }

func (r *Refusal) text() string {
	if r.Cause != "" {
		return r.Cause
	}
	return r.Message
}

func unauthorized(cause string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Type: "UnauthorizedException", Message: "Unauthorized", Cause: cause}
}

func forbidden(cause string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Type: "ForbiddenException", Message: "Forbidden", Cause: cause}
}

func internal(cause string) *Refusal {
	return &Refusal{Status: http.StatusInternalServerError, Type: "InternalServerErrorException", Message: "Internal server error", Cause: cause}
}

func tooMany(cause string) *Refusal {
	return &Refusal{Status: http.StatusTooManyRequests, Type: "TooManyRequestsException", Message: "Too Many Requests", Cause: cause}
}

func limitExceeded(cause string) *Refusal {
	return &Refusal{Status: http.StatusTooManyRequests, Type: "LimitExceededException", Message: "Limit Exceeded", Cause: cause}
}

// accessDenied is a policy's no. Its body spells Message with a capital, as REST APIs
// do (WebSocket APIs: unconfirmed).
func accessDenied(text, cause string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Type: "AccessDeniedException", Message: text, Cause: cause,
		Body: append(event.AppendString([]byte(`{"Message":`), text), '}')}
}
