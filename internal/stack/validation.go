package stack

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/schema"
	"github.com/livegate/livegate/internal/selection"
)

// builtModel is where a model was written.
type builtModel struct {
	in      *instance
	r       *cfn.Resource
	model   *model.Model
	at      cfn.Pos // of its schema
	relaxed bool    // the API has DisableSchemaValidation
}

var validModel = regexp.MustCompile(`^[A-Za-z0-9]{1,128}$`)

// keepModel takes a model into its API, for checkModels.
func (a *builtAPI) keepModel(in *instance, p props, m *model.Model) {
	if m.Name != "" && !validModel.MatchString(m.Name) {
		in.report(Error, "bad-model", p.r, p.pos("Name"), "Use letters and digits, 128 at most.", "The model name %s is not valid.", quote(m.Name))
	}
	if slices.ContainsFunc(a.models, func(other builtModel) bool { return other.model.Name == m.Name }) {
		in.report(Error, "duplicate-name", p.r, p.pos("Name"), "Give one of them another name.", "The API %s has two models %s.", a.api.LogicalID, quote(m.Name))
	}
	a.models = append(a.models, builtModel{in, p.r, m, p.pos("Schema"), a.in.props(a.r).boolean("DisableSchemaValidation")})
}

// checkModels compiles the models of an API, once all are there: they may refer to each
// other. AWS does that when the API is deployed, unless DisableSchemaValidation is set;
// a route with a model that cannot be read cannot check anything, so here it is an
// error all the same where a route uses it.
func (a *builtAPI) checkModels() {
	texts := map[string]string{}
	for _, m := range a.models {
		texts[m.model.Name] = m.model.Schema
	}
	set := schema.NewSet(texts)
	for _, m := range a.models {
		if m.model.Schema == "" {
			continue // missing, and reported
		}
		_, err := set.Compile(m.model.Name)
		if err == nil {
			continue
		}
		severity := Error
		if m.relaxed && !a.usesModel(m.model.Name) {
			severity = Warning
		}
		m.in.report(severity, "bad-model", m.r, m.at, "Schemas are JSON Schema draft-04.", "The schema of %s cannot be used: %s.", m.r.ID, strings.TrimSuffix(fault.Message(err), "."))
	}
}

func (a *builtAPI) usesModel(name string) bool {
	for _, rt := range a.api.Routes {
		for _, used := range rt.RequestModels {
			if used == name {
				return true
			}
		}
	}
	return false
}

// requestModels checks what a route says about the shape of its messages.
func (in *instance) requestModels(p props, a *builtAPI, rt *model.Route) {
	if rt.ModelSelectionExpression == "" {
		if len(rt.RequestModels) > 0 {
			in.report(Warning, "models-without-expression", p.r, p.pos("RequestModels"), `Add "ModelSelectionExpression: $default" to check every message.`, "The route %s has RequestModels and no ModelSelectionExpression: no message is checked, on AWS neither.", rt.Key)
		}
		return
	}
	if _, err := selection.Compile(rt.ModelSelectionExpression); err != nil {
		in.report(Error, "bad-selection-expression", p.r, p.pos("ModelSelectionExpression"), "Write a path into the message, for example $request.body.type.", "The model selection expression %s is not valid: %s.", quote(rt.ModelSelectionExpression), fault.Message(err))
	}
	if rt.Key == model.RouteConnect || rt.Key == model.RouteDisconnect {
		in.report(Warning, "models-without-message", p.r, p.pos("ModelSelectionExpression"), "Put it on a route that a message selects.", "The route %s has no message to check.", rt.Key)
	}
	if len(rt.RequestModels) == 0 {
		in.report(Warning, "no-request-models", p.r, p.pos("ModelSelectionExpression"), "Add `RequestModels: {$default: MyModel}`.", "The route %s has no RequestModels: every message is refused.", rt.Key)
	}
	var names []string
	for _, m := range a.api.Models {
		names = append(names, m.Name)
	}
	for _, name := range rt.RequestModels {
		if !slices.Contains(names, name) {
			in.report(Error, "unknown-model", p.r, p.pos("RequestModels"), cfn.DidYouMean(name, names), "The route %s checks messages with the model %s, which the API does not have: give its Name.", rt.Key, quote(name))
		}
	}
}

var contextVariable = regexp.MustCompile(`\$context\.([A-Za-z0-9_.-]*[A-Za-z0-9_])`)

// accessLogFormat checks the format of an access log, as far as AWS would refuse it or
// print nothing but dashes.
func (in *instance) accessLogFormat(p props, format string) {
	at := p.pos("Format")
	if !strings.Contains(format, "$context.requestId") && !strings.Contains(format, "$context.extendedRequestId") {
		in.report(Warning, "bad-log-format", p.r, at, "Add $context.requestId.", "The access log format of %s has neither $context.requestId nor $context.extendedRequestId, which AWS demands.", p.r.ID)
	}
	if len(format) > 3072 {
		in.quota(p.r, at, "the access log format of "+p.r.ID, len(format), 3072, "bytes")
	}
	for _, found := range contextVariable.FindAllStringSubmatch(format, -1) {
		if !event.IsContext(found[1]) {
			in.report(Warning, "unknown-variable", p.r, at, "", "The access log of %s names $context.%s, which WebSocket APIs do not have: it prints \"-\".", p.r.ID, found[1])
		}
	}
}

// quota says that something is more than AWS takes. It works here.
func (in *instance) quota(r *cfn.Resource, at cfn.Pos, what string, got, most int, unit string) {
	in.report(Warning, "aws-quota", r, at, "It works here.", "AWS would refuse %s: %d %s, and its quota is %d.", what, got, unit, most)
}

// variableValue is what AWS takes as the value of a stage variable.
var variableValue = regexp.MustCompile(`^[A-Za-z0-9\-._~:/?#&=,]*$`)

// stageVariables checks quotas and characters (quotas of "Stage variables").
func (in *instance) stageVariables(p props, s *model.Stage) {
	at := p.pos("StageVariables")
	if n := len(s.Variables); n > 100 {
		in.quota(p.r, at, "the variables of stage "+s.Name, n, 100, "variables")
	}
	for key, v := range s.Variables {
		switch {
		case len(key) > 64:
			in.quota(p.r, at, "the name of the stage variable "+quote(key), len(key), 64, "characters")
		case len(v) > 512:
			in.quota(p.r, at, "the value of the stage variable "+quote(key), len(v), 512, "characters")
		case !variableValue.MatchString(v):
			in.report(Warning, "bad-stage-variable", p.r, at, "AWS takes letters, digits and -._~:/?#&=,", "AWS would refuse the value of the stage variable %s of stage %s.", quote(key), s.Name)
		}
	}
}

// quotas compares an API with what AWS allows per API.
func (a *builtAPI) quotas() {
	for _, q := range []struct {
		got, most int
		unit      string
	}{{len(a.api.Routes), 300, "routes"}, {len(a.integrations), 300, "integrations"}, {len(a.api.Stages), 10, "stages"}, {len(a.api.Authorizers), 10, "authorizers"}} {
		if q.got > q.most {
			a.in.quota(a.r, a.r.Pos, "the API "+a.api.LogicalID+" as it is", q.got, q.most, q.unit)
		}
	}
}

// deploymentOrder points out routes that a Deployment does not wait for. A deployment
// is a snapshot: on AWS a route that CloudFormation makes after it is not in it, and
// messages for it are Forbidden. Here every route of the template is there. That is as
// far as a template can tell: it has no history.
func (a *builtAPI) deploymentOrder() {
	r := a.deployment
	if r == nil || r.From != "" || !slices.ContainsFunc(a.api.Stages, func(s *model.Stage) bool { return s.Deployed && s.LogicalID != "" && !a.auto[s.Name] }) {
		return
	}
	waits := map[string]bool{}
	a.in.dependencies(r, waits)
	var late []string
	for _, rt := range a.api.Routes {
		if !waits[rt.LogicalID] {
			late = append(late, rt.Key)
		}
	}
	if len(late) > 0 && len(a.api.Routes) > 0 {
		a.in.report(Warning, "deployment-too-early", r, r.Pos, "Add `DependsOn:` with the logical ids of the routes.", "On AWS %s may be made before %s, and would not have %s. Here all routes are there.", r.ID, routesText(late), pronoun(late))
	}
}

func routesText(keys []string) string {
	const most = 5
	if len(keys) == 1 {
		return "the route " + keys[0]
	}
	if len(keys) > most {
		return fmt.Sprintf("%d routes (%s, …)", len(keys), strings.Join(keys[:most], ", "))
	}
	return "the routes " + strings.Join(keys, ", ")
}

func pronoun(keys []string) string {
	if len(keys) == 1 {
		return "it"
	}
	return "them"
}

// dependencies adds what a resource waits for by DependsOn, through others too.
func (in *instance) dependencies(r *cfn.Resource, into map[string]bool) {
	for _, d := range r.DependsOn {
		if into[d.Text] {
			continue
		}
		into[d.Text] = true
		for _, other := range in.Resources {
			if other.ID == d.Text {
				in.dependencies(other, into)
			}
		}
	}
}
