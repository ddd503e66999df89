package stack

import (
	"slices"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
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
	case model.HTTPProxy:
		in.checkURL(p, i)
	case model.Mock:
		in.templates(p, "RequestTemplates")
	case model.AWS:
		in.report(Warning, "integration-not-supported", r, p.pos("IntegrationType"), "Until then its routes answer with an error frame.", "AWS integrations are not supported yet: %s calls %s.", r.ID, service(i.URI))
	case model.HTTP:
		in.checkURL(p, i)
		in.report(Warning, "integration-not-supported", r, p.pos("IntegrationType"), "Use HTTP_PROXY; until then its routes answer with an error frame.", "HTTP integrations with mappings are not supported yet: %s.", r.ID)
	}
	if i.Connection == "VPC_LINK" {
		in.report(Warning, "vpc-link-not-supported", r, p.pos("ConnectionType"), "The URL is called directly.", "VPC links are not supported: %s.", r.ID)
	}
}

// service names what an AWS integration calls: "sqs", "dynamodb PutItem".
func service(uri string) string {
	parts := strings.SplitN(uri, ":", 6)
	if len(parts) < 6 {
		return "a service"
	}
	if action, ok := strings.CutPrefix(parts[5], "action/"); ok {
		return parts[4] + " " + action
	}
	return parts[4]
}

func (in *instance) checkURL(p props, i *model.Integration) {
	if i.URI == "" || strings.HasPrefix(i.URI, "http://") || strings.HasPrefix(i.URI, "https://") || strings.HasPrefix(i.URI, "${stageVariables.") {
		return
	}
	in.report(Error, "bad-integration-uri", p.r, p.pos("IntegrationUri"), "Write an http:// or https:// URL.", "The IntegrationUri of %s is no URL: %s.", p.r.ID, quote(i.URI))
}

// calledFunction checks that the function behind a proxy integration is there.
// A URI with stage variables is known only when a message arrives.
func (b *builder) calledFunction(p props, i *model.Integration) {
	if i.URI == "" || strings.Contains(i.URI, "${stageVariables.") {
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

// templates reports mapping templates that are more than literal text.
func (in *instance) templates(p props, key string) {
	v := p.get(key)
	if v == nil || v.Kind != cfn.Map {
		return
	}
	for _, e := range v.Map {
		if strings.ContainsAny(e.Value.Text, "$#") {
			in.report(Warning, "template-not-supported", p.r, e.Pos, "Literal templates work; until then this one answers with an error frame.", "Mapping templates with $ or # are not supported yet: %s %s of %s.", key, quote(e.Key), p.r.ID)
		}
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
	if i.Type == model.Mock {
		in.templates(p, "ResponseTemplates")
	}
}
