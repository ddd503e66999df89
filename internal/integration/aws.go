package integration

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/selection"
)

// service is what an integration of type AWS calls, as its URI names it (§4.9 of
// the reference).
type service struct {
	region string
	name   string // signing name: "dynamodb", "sqs"
	host   string // label in front of the region in the public host
	action string // "PutItem"; "" for the path form
	query  string // what follows the action: "&TopicArn=…"
	speaks wire
}

// wire is how a service's actions are called over HTTP.
type wire struct {
	kind    string // "json", "query" or "" (REST: the path says it all)
	content string // Content-Type
	target  string // prefix of X-Amz-Target
	version string // of the Query API
}

// wires are those of the services whose actions API Gateway calls with a body made
// by a template (their public API references).
var wires = map[string]wire{
	"dynamodb":       {"json", json10, "DynamoDB_20120810.", ""},
	"states":         {"json", json10, "AWSStepFunctions.", ""},
	"kinesis":        {"json", json11, "Kinesis_20131202.", ""},
	"firehose":       {"json", json11, "Firehose_20150804.", ""},
	"events":         {"json", json11, "AWSEvents.", ""},
	"logs":           {"json", json11, "Logs_20140328.", ""},
	"ssm":            {"json", json11, "AmazonSSM.", ""},
	"secretsmanager": {"json", json11, "secretsmanager.", ""},
	"kms":            {"json", json11, "TrentService.", ""},
	"cognito-idp":    {"json", json11, "AWSCognitoIdentityProviderService.", ""},
	"sqs":            {"query", form, "", "2012-11-05"},
	"sns":            {"query", form, "", "2010-03-31"},
	"sts":            {"query", form, "", "2011-06-15"},
	"monitoring":     {"query", form, "", "2010-08-01"},
}

const (
	json10 = "application/x-amz-json-1.0"
	json11 = "application/x-amz-json-1.1"
	form   = "application/x-www-form-urlencoded"
)

func (p *Plan) compileAWS(in *model.Integration) (err error) {
	if p.method == "" || p.method == "ANY" {
		p.method = http.MethodPost
	}
	for dest := range in.RequestParameters {
		if strings.EqualFold(dest, "integration.request.header.Host") {
			return fault.New(fault.BadRequest, "RequestParameters key %q: the Host of an AWS service cannot be mapped", dest)
		}
	}
	if strings.Contains(in.URI, ":lambda:path/") || strings.Contains(in.URI, ":function:") {
		arn, err := functionARN(in.URI)
		if err != nil {
			return err
		}
		if p.target, err = compileStageText(arn); err != nil {
			return err
		}
		p.parameters, err = compileParameters(in.RequestParameters, []string{})
		return err
	}
	s, path, err := parseService(in.URI)
	if err != nil {
		return err
	}
	p.service = s
	if p.target, err = compileStageText(path); err != nil {
		return err
	}
	p.parameters, err = compileParameters(in.RequestParameters, pathNames(path))
	return err
}

const serviceURI = "arn:aws:apigateway:REGION:SERVICE:action/ACTION or arn:aws:apigateway:REGION:SERVICE:path/PATH"

// parseService reads "arn:aws:apigateway:{region}:[{sub}.]{service}:action/{Action}"
// and "…:path/{path}". For both it returns the path of the request.
func parseService(uri string) (*service, string, error) {
	parts := strings.SplitN(uri, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "apigateway" || parts[3] == "" || parts[4] == "" {
		return nil, "", fault.New(fault.BadRequest, "IntegrationUri %q does not name an action of a service: want %s", uri, serviceURI)
	}
	if !plainLabel(parts[3]) || !plainLabel(strings.ReplaceAll(parts[4], ".", "-")) {
		return nil, "", fault.New(fault.BadRequest, "IntegrationUri %q: region and service are lower-case names, not %q and %q", uri, parts[3], parts[4])
	}
	s := &service{region: parts[3], name: parts[4], host: parts[4]}
	if _, name, ok := strings.Cut(s.name, "."); ok {
		s.name = name // a sub-domain: "data-ats.iot", "{account}.s3"
	}
	s.speaks = wires[s.name]
	if path, ok := strings.CutPrefix(parts[5], "path/"); ok {
		if path = strings.TrimLeft(path, "/"); path == "" && s.speaks.kind == "" {
			return nil, "", fault.New(fault.BadRequest, "IntegrationUri %q has an empty path: want %s", uri, serviceURI)
		}
		return s, "/" + path, nil
	}
	action, ok := strings.CutPrefix(parts[5], "action/")
	s.action, s.query, _ = strings.Cut(action, "&")
	if !ok || s.action == "" {
		return nil, "", fault.New(fault.BadRequest, "IntegrationUri %q names no action: want %s", uri, serviceURI)
	}
	if strings.Trim(s.action, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return nil, "", fault.New(fault.BadRequest, "IntegrationUri %q: %q is not the name of an action", uri, s.action)
	}
	return s, "/", nil
}

// plainLabel reports whether s can be a label of a host name.
func plainLabel(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// serve calls an action of an AWS service.
func (x *Executor) serve(ctx context.Context, r *Request, vars *selection.Vars, payload []byte) (*reply, error) {
	p, s := r.Plan, r.Plan.service
	what := strings.TrimSpace(s.name + " " + s.action)
	if x.services == nil || !x.services.Knows(s.name, s.action) {
		return nil, fault.New(fault.Unsupported, "integration %s%s: %s is not supported yet", p.name, at(p.pos), what)
	}
	role, err := p.credentials.expand(r.StageVariables, r.Conn.Stage)
	if err != nil {
		return nil, err
	}
	req, err := r.serviceRequest(ctx, vars, payload)
	if err != nil {
		return nil, err
	}
	r.queued()
	res, err := x.services.Do(ctx, s.name, s.region, role, req)
	if err != nil {
		return nil, fault.New(fault.Upstream, "integration %s: %s: %v", p.name, what, err)
	}
	rep, err := r.read(res, what, r.readsAnswer())
	if err != nil {
		return nil, err
	}
	if isXML(rep.header.Get("Content-Type"), rep.body) {
		if rep.body, err = queryJSON(rep.body); err != nil {
			return nil, fault.New(fault.Upstream, "integration %s: %s answered XML that cannot be read: %v", p.name, what, err)
		}
	}
	if rep.status >= 400 {
		rep.failed = r.unquoted(serviceError(what, rep))
	}
	return rep, nil
}

// serviceRequest is the request AWS would get, without a signature.
func (r *Request) serviceRequest(ctx context.Context, vars *selection.Vars, payload []byte) (*http.Request, error) {
	p, s := r.Plan, r.Plan.service
	path, err := p.target.expand(r.StageVariables, r.Conn.Stage)
	if err != nil {
		return nil, err
	}
	out := &outgoing{target: path, query: url.Values{}, header: http.Header{}}
	out.header.Set("User-Agent", "AmazonAPIGateway_"+r.Conn.APIID)
	out.header.Set("X-Amzn-Apigateway-Api-Id", r.Conn.APIID)
	out.header.Set("Accept", "application/json")
	out.header.Set("Content-Type", s.speaks.contentType(payload))
	if s.speaks.kind == "json" && s.action != "" {
		out.header.Set("X-Amz-Target", s.speaks.target+s.action)
	}
	if err := p.parameters.apply(p, out, vars); err != nil {
		return nil, err
	}
	if r.Type == event.TypeConnect && len(payload) == 0 && s.speaks.kind == "json" {
		payload = []byte("{}")
	}
	fixed, _ := url.ParseQuery(s.query)
	for name, values := range fixed {
		if !out.query.Has(name) {
			out.query[name] = values
		}
	}
	if s.action != "" && s.speaks.kind != "json" && !out.query.Has("Action") {
		out.query.Set("Action", s.action)
		if s.speaks.version != "" && !out.query.Has("Version") {
			out.query.Set("Version", s.speaks.version)
		}
	}
	target := "https://" + s.host + "." + s.region + ".amazonaws.com" + out.target
	if len(out.query) > 0 {
		join := "?"
		if strings.Contains(out.target, "?") {
			join = "&"
		}
		target += join + out.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, p.method, target, bytes.NewReader(payload))
	if err != nil {
		return nil, fault.New(fault.Upstream, "integration %s: %v", p.name, err)
	}
	// Whoever serves it may be in this process, where nobody folds names on arrival.
	for name, values := range out.header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	return req, nil
}

// contentType is what a body is called when no parameter names it. A Query API
// takes forms; JSON passed through to one stays JSON, and the query string counts.
func (w wire) contentType(payload []byte) string {
	first := bytes.TrimLeft(payload, " \t\r\n")
	if w.content == "" || w.kind == "query" && len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		return "application/json"
	}
	return w.content
}

// unquoted blanks the end of an error that repeats what the client sent, as DynamoDB's
// do ("… cannot be converted to a numeric value: hunter2").
func (r *Request) unquoted(text string) string {
	sent := r.Body
	if r.Handshake != nil {
		sent = []byte(r.Handshake.Query)
	}
	if i := strings.LastIndex(text, ": "); i >= 0 && len(text) > i+5 && bytes.Contains(sent, []byte(text[i+2:])) {
		return text[:i] + ": ****"
	}
	return text
}

// serviceError is a service's error in one line, for the log.
func serviceError(what string, rep *reply) string {
	code, message := "", ""
	doc := gjson.ParseBytes(rep.body)
	for _, key := range []string{"__type", "code", "Error.Code"} {
		if v := doc.Get(key); v.Type == gjson.String && code == "" {
			code = v.Str[strings.LastIndexByte(v.Str, '#')+1:]
		}
	}
	for _, key := range []string{"message", "Message", "Error.Message"} {
		if v := doc.Get(key); v.Type == gjson.String && message == "" {
			message = v.Str
		}
	}
	if code == "" && message == "" {
		message = excerpt(strings.TrimSpace(string(rep.body)))
	}
	return strings.TrimSuffix(what+" answered "+http.StatusText(rep.status)+": "+strings.TrimPrefix(code+": "+message, ": "), ": ")
}
