package event

import "strconv"

// Outcome is what came of a request, for access logs and response templates: the
// $context variables that are known only afterwards. Zero values are unset.
type Outcome struct {
	Status       int // what the client was told: 101, 403, …; of a message 200, or that of its error frame
	Error        Failure
	Integration  Phase
	Authorizer   Phase
	Authorize    Phase // the decision: is this caller allowed to
	Authenticate Phase // the caller: is it who it says
}

// Failure is what went wrong, in the client's words.
type Failure struct {
	Message          string // "Internal server error"
	ResponseType     string // gateway response type, "AUTHORIZER_FAILURE"
	ValidationErrors string // why a model refused the message
}

// Phase is one step on the way.
type Phase struct {
	Status int // the step's own: of a Lambda integration what the function returned
	// BackendStatus is what the called service answered: of a Lambda function 200
	// even when the function failed.
	BackendStatus int
	Latency       int64 // milliseconds; meaningful when Status or BackendStatus is set
	RequestID     string
	Error         string
}

// variable looks up a variable of o; ok is false when it is not one, or not set.
func (o *Outcome) variable(path string) (string, bool) {
	switch path {
	case "status":
		return number(o.Status)
	case "error.message":
		return text(o.Error.Message)
	case "error.messageString":
		if o.Error.Message == "" {
			return "", false
		}
		return string(AppendString(nil, o.Error.Message)), true
	case "error.responseType":
		return text(o.Error.ResponseType)
	case "error.validationErrorString":
		return text(o.Error.ValidationErrors)
	// The first of each pair is the older name of the second.
	case "integrationLatency", "integration.latency":
		return o.Integration.latency()
	case "integrationStatus", "integration.integrationStatus":
		return number(o.Integration.BackendStatus)
	case "integrationErrorMessage", "integration.error":
		return text(o.Integration.Error)
	case "awsEndpointRequestId", "integration.requestId":
		return text(o.Integration.RequestID)
	case "integration.status":
		return number(o.Integration.Status)
	case "authorizer.error":
		return text(o.Authorizer.Error)
	case "authorizer.integrationLatency", "authorizer.latency":
		return o.Authorizer.latency()
	case "authorizer.integrationStatus":
		return number(o.Authorizer.BackendStatus)
	case "authorizer.status":
		return number(o.Authorizer.Status)
	case "authorizer.requestId":
		return text(o.Authorizer.RequestID)
	case "authorize.error":
		return text(o.Authorize.Error)
	case "authorize.latency":
		return o.Authorize.latency()
	case "authorize.status":
		return number(o.Authorize.Status)
	case "authenticate.error":
		return text(o.Authenticate.Error)
	case "authenticate.latency":
		return o.Authenticate.latency()
	case "authenticate.status":
		return number(o.Authenticate.Status)
	}
	return "", false
}

func text(s string) (string, bool) { return s, s != "" }

func number(n int) (string, bool) {
	if n == 0 {
		return "", false
	}
	return strconv.Itoa(n), true
}

func (p *Phase) latency() (string, bool) {
	if p.Status == 0 && p.BackendStatus == 0 {
		return "", false
	}
	return strconv.FormatInt(p.Latency, 10), true
}
