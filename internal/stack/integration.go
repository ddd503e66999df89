package stack

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/selection"
	"github.com/livegate/livegate/internal/vtl"
)

func (b *builder) integration(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("ApiId", "ConnectionId", "ConnectionType", "ContentHandlingStrategy", "CredentialsArn", "Description", "IntegrationMethod",
		"IntegrationSubtype", "IntegrationType", "IntegrationUri", "PassthroughBehavior", "PayloadFormatVersion", "RequestParameters",
		"RequestTemplates", "ResponseParameters", "TemplateSelectionExpression", "TimeoutInMillis", "TlsConfig")
	a := b.owner(p)
	if a == nil || p.missing("IntegrationType", "Add `IntegrationType: AWS_PROXY`.") {
		return
	}
	i := &model.Integration{LogicalID: r.ID, ID: in.expand("{id7}", r),
		Type:   model.IntegrationType(p.oneOf("IntegrationType", "AWS_PROXY", "AWS", "HTTP_PROXY", "HTTP", "MOCK")),
		Method: p.str("IntegrationMethod"), URI: p.str("IntegrationUri"), Connection: p.oneOf("ConnectionType", "INTERNET", "VPC_LINK"),
		CredentialsARN: p.str("CredentialsArn"), RequestParameters: p.texts("RequestParameters"), RequestTemplates: p.texts("RequestTemplates"),
		TemplateSelectionExpression: p.str("TemplateSelectionExpression"),
		PassthroughBehavior:         p.oneOf("PassthroughBehavior", "WHEN_NO_MATCH", "WHEN_NO_TEMPLATES", "NEVER"),
		ContentHandling:             p.oneOf("ContentHandlingStrategy", "CONVERT_TO_BINARY", "CONVERT_TO_TEXT"),
		Timeout:                     time.Duration(p.integer("TimeoutInMillis", int(model.DefaultIntegrationTimeout/time.Millisecond), 50, 29000)) * time.Millisecond,
		Pos:                         position(r.Pos)}
	a.integrations[i.ID] = i
	if i.Type != model.Mock && i.Type != "" && p.missing("IntegrationUri", "Name the function or URL to call.") {
		return
	}
	switch i.Type {
	case model.AWSProxy:
		b.calledFunction(p, i)
	case model.HTTPProxy, model.HTTP:
		in.checkURL(p, i)
	case model.AWS:
		b.calledService(p, i)
	}
	if i.Type != model.AWSProxy { // what is mapped for a function is ignored, as on AWS
		in.parameters(p, "RequestParameters", destination)
	}
	if mapped(i.Type) {
		in.templates(p, "RequestTemplates")
		in.selects(p, "TemplateSelectionExpression")
	}
	for _, key := range []string{"IntegrationSubtype", "ResponseParameters", "TlsConfig"} {
		if p.wrote(key) {
			in.report(Warning, "http-api-only", r, p.pos(key), "Remove it.", "%s of %s is for HTTP APIs and does nothing in a WebSocket API.", key, r.ID)
		}
	}
	if v := p.str("PayloadFormatVersion"); v != "" && v != "1.0" && v != "1" {
		in.report(Error, "bad-property", r, p.pos("PayloadFormatVersion"), "Remove it, or write \"1.0\".", "PayloadFormatVersion of %s cannot be %s in a WebSocket API.", r.ID, quote(v))
	}
	if i.Connection == "VPC_LINK" {
		in.report(Warning, "vpc-link-not-supported", r, p.pos("ConnectionType"), "The URL is called directly.", "VPC links are not supported: %s.", r.ID)
	}
}

// mapped reports whether a type has templates and integration responses; proxies
// ignore those that are left over.
func mapped(t model.IntegrationType) bool {
	return t == model.AWS || t == model.HTTP || t == model.Mock
}

// Quotas of mappings.
const (
	maxTemplate = 300 << 10 // "Known issues": bytes of a template
	maxSource   = 512       // API reference: characters of a mapping's source
)

var serviceURI = regexp.MustCompile(`^arn:[^:]+:apigateway:[^:]+:[^:]+:(action/[A-Za-z0-9]+|path/)`)

// calledService checks the URI of type AWS: a function, or an action or path of a
// service. Whether the service is there is the gateway's to say.
func (b *builder) calledService(p props, i *model.Integration) {
	switch {
	case strings.Contains(i.URI, ":lambda:path/"), strings.Contains(i.URI, ":function:"):
		b.calledFunction(p, i)
	case i.URI == "" || strings.HasPrefix(i.URI, stageVariable):
	case !serviceURI.MatchString(i.URI):
		p.in.report(Error, "bad-integration-uri", p.r, p.pos("IntegrationUri"),
			"Write `!Sub arn:aws:apigateway:${AWS::Region}:SERVICE:action/ACTION`, or path/PATH for SQS.",
			"The IntegrationUri of %s names no action of an AWS service: %s.", p.r.ID, quote(i.URI))
	case i.CredentialsARN == "":
		p.in.report(Note, "no-credentials", p.r, p.r.Pos, "Add `CredentialsArn: !GetAtt MyRole.Arn` with a role that apigateway.amazonaws.com may take on.",
			"On AWS %s needs a role to call %s with.", p.r.ID, strings.SplitN(i.URI, ":", 6)[4])
	}
}

const stageVariable = "${stageVariables."

func (in *instance) checkURL(p props, i *model.Integration) {
	if i.URI == "" || strings.HasPrefix(i.URI, "http://") || strings.HasPrefix(i.URI, "https://") || strings.HasPrefix(i.URI, stageVariable) {
		return
	}
	in.report(Error, "bad-integration-uri", p.r, p.pos("IntegrationUri"), "Write an http:// or https:// URL.", "The IntegrationUri of %s is no URL: %s.", p.r.ID, quote(i.URI))
}

// calledFunction checks that the function behind a proxy integration is there.
// A URI with stage variables is known only when a message arrives.
func (b *builder) calledFunction(p props, i *model.Integration) {
	if i.URI == "" || strings.Contains(i.URI, stageVariable) {
		return
	}
	arn := i.URI
	if _, rest, ok := strings.Cut(arn, ":path/2015-03-31/functions/"); ok {
		var whole bool
		if arn, whole = strings.CutSuffix(rest, "/invocations"); !whole {
			p.in.report(Error, "bad-integration-uri", p.r, p.pos("IntegrationUri"), "End it with /invocations.", "The IntegrationUri of %s is incomplete.", p.r.ID)
			return
		}
	}
	if !strings.Contains(arn, ":function:") {
		p.in.report(Error, "bad-integration-uri", p.r, p.pos("IntegrationUri"),
			"Write `!Sub arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${MyFunction.Arn}/invocations`.",
			"The IntegrationUri of %s names no Lambda function: %s.", p.r.ID, quote(i.URI))
		return
	}
	name, qualifier := splitFunction(arn)
	f := b.functions[name]
	switch {
	case f == nil:
		p.in.report(Error, "unknown-function", p.r, p.pos("IntegrationUri"), cfn.DidYouMean(name, b.functionNames()), "%s calls the function %s, which is not in this template.", p.r.ID, quote(name))
	case f.fn == nil:
		p.in.report(Error, "function-not-supported", p.r, p.pos("IntegrationUri"), "", "%s needs the function %s, which cannot run here: %s.", p.r.ID, f.r.ID, f.reason)
	case qualifier != "" && qualifier != "$LATEST" && qualifier != "1" && !b.hasAlias(f, qualifier):
		p.in.report(Error, "unknown-alias", p.r, p.pos("IntegrationUri"), "", "%s calls the alias %s of %s, which does not exist.", p.r.ID, quote(qualifier), f.r.ID)
	}
}

// hasAlias looks at the declarations: aliases are built in the same pass as
// integrations, in source order.
func (b *builder) hasAlias(f *builtFunction, name string) bool {
	return slices.ContainsFunc(b.instances, func(in *instance) bool {
		return slices.ContainsFunc(in.Resources, func(r *cfn.Resource) bool {
			p := in.props(r)
			return r.Type == "AWS::Lambda::Alias" && p.str("Name") == name && functionName(p.str("FunctionName")) == f.fn.Name
		})
	})
}

// templates compiles mapping templates. A finding stands on the line of the
// template that it is about where that can be told, else on the template's key.
func (in *instance) templates(p props, key string) {
	v := p.get(key)
	if v == nil || v.Kind != cfn.Map {
		return
	}
	for _, e := range v.Map {
		if n := len(e.Value.Text); n > maxTemplate {
			in.quota(p.r, e.Pos, key+" "+quote(e.Key)+" of "+p.r.ID, n, maxTemplate, "bytes")
		}
		_, err := vtl.Compile(key, e.Value.Text)
		syntax, ok := errors.AsType[*vtl.SyntaxError](err)
		if !ok {
			continue
		}
		severity, code := Error, "bad-template"
		if fault.Is(err, fault.Unsupported) {
			severity, code = Warning, "template-not-supported"
		}
		at := e.Pos
		if e.Value.Block {
			at = cfn.Pos{File: e.Value.Pos.File, Line: e.Value.Pos.Line + syntax.Line}
		}
		in.report(severity, code, p.r, at, "", "%s %s of %s, line %d, column %d: %s.", key, quote(e.Key), p.r.ID, syntax.Line, syntax.Col, strings.TrimSuffix(syntax.Msg, "."))
	}
}

var (
	destination         = regexp.MustCompile(`^integration\.request\.(header|querystring|path)\.[a-zA-Z0-9._$-]+$`)
	responseDestination = regexp.MustCompile(`^route\.response\.header\.[a-zA-Z0-9._$-]+$`)
)

// parameters checks the keys and sources of a parameter mapping.
func (in *instance) parameters(p props, key string, allowed *regexp.Regexp) {
	v := p.get(key)
	if v == nil || v.Kind != cfn.Map {
		return
	}
	for _, e := range v.Map {
		if !allowed.MatchString(e.Key) {
			hint := "Write integration.request.header.NAME, .querystring.NAME or .path.NAME."
			if allowed == responseDestination {
				hint = "Write route.response.header.NAME."
			}
			in.report(Error, "bad-parameter-mapping", p.r, e.Pos, hint, "%s of %s cannot have the key %s.", key, p.r.ID, quote(e.Key))
		}
		if !e.Value.Scalar() {
			continue
		}
		if n := utf8.RuneCountInString(e.Value.Text); n > maxSource {
			in.quota(p.r, e.Pos, key+" "+quote(e.Key)+" of "+p.r.ID, n, maxSource, "characters")
		}
		m, err := selection.CompileMapping(e.Value.Text)
		switch {
		case err != nil:
			in.report(Error, "bad-parameter-mapping", p.r, e.Pos, "", "%s %s of %s: %s.", key, quote(e.Key), p.r.ID, fault.Message(err))
		case m.Response() && allowed == destination:
			in.report(Error, "bad-parameter-mapping", p.r, e.Pos, "Use route.request.…, context.…, stageVariables.… or 'text'.", "%s %s of %s: %s is there only after the call.", key, quote(e.Key), p.r.ID, e.Value.Text)
		}
	}
}

// selects checks a selection expression.
func (in *instance) selects(p props, key string) {
	text := p.str(key)
	if text == "" {
		return
	}
	if _, err := selection.Compile(text); err != nil {
		in.report(Error, "bad-selection-expression", p.r, p.pos(key), "", "%s of %s: %s.", key, p.r.ID, fault.Message(err))
	}
}

func (b *builder) integrationResponse(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("ApiId", "ContentHandlingStrategy", "IntegrationId", "IntegrationResponseKey", "ResponseParameters", "ResponseTemplates", "TemplateSelectionExpression")
	a := b.owner(p)
	if a == nil || p.missing("IntegrationId", "Add `IntegrationId: !Ref MyIntegration`.") || p.missing("IntegrationResponseKey", "Add `IntegrationResponseKey: $default`.") {
		return
	}
	id := p.str("IntegrationId")
	i := a.integrations[id]
	if i == nil {
		if id != "" {
			in.report(Error, "unknown-integration", r, p.pos("IntegrationId"), "Write `!Ref` with the logical id of an integration.", "%s belongs to the integration %s, which does not exist in its API.", r.ID, quote(id))
		}
		return
	}
	i.Responses = append(i.Responses, &model.IntegrationResponse{LogicalID: r.ID, ID: in.expand("{id7}", r), Key: p.str("IntegrationResponseKey"),
		Templates: p.texts("ResponseTemplates"), Parameters: p.texts("ResponseParameters"), TemplateSelectionExpression: p.str("TemplateSelectionExpression"),
		ContentHandling: p.oneOf("ContentHandlingStrategy", "CONVERT_TO_BINARY", "CONVERT_TO_TEXT"), Pos: position(r.Pos)})
	if !mapped(i.Type) {
		return
	}
	in.templates(p, "ResponseTemplates")
	in.selects(p, "TemplateSelectionExpression")
	in.parameters(p, "ResponseParameters", responseDestination)
	key := p.str("IntegrationResponseKey")
	if _, err := selection.CompileKeys([]string{key}); err != nil && key != "" {
		in.report(Error, "bad-response-key", r, p.pos("IntegrationResponseKey"), "", "%s.", fault.Message(err))
	}
	for _, other := range i.Responses[:len(i.Responses)-1] {
		if other.Key == key || selection.IsDefault(other.Key) && selection.IsDefault(key) {
			in.report(Error, "duplicate-name", r, p.pos("IntegrationResponseKey"), "Keep one of them.", "The integration %s already has a response %s (line %d).", i.LogicalID, quote(key), other.Pos.Line)
		}
	}
}
