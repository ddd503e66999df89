package stack

import (
	"regexp"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
)

// API keys and usage plans are made with the first version of API Gateway's control
// plane, for WebSocket APIs too ("AWS::ApiGateway::UsagePlan").
const v1 = "AWS::ApiGateway::"

var validKey = regexp.MustCompile(`^[A-Za-z0-9_-]{20,128}$`)

func (b *builder) apiKey(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("CustomerId", "Description", "Enabled", "GenerateDistinctId", "Name", "StageKeys", "Tags", "Value")
	k := &model.APIKey{LogicalID: r.ID, ID: in.expand("{id10}", r), Name: p.str("Name"), Value: p.str("Value"), Enabled: p.boolean("Enabled"), Pos: position(r.Pos)}
	if k.Name == "" {
		k.Name = in.generated(r.ID, 64, "")
	}
	switch {
	case !p.wrote("Value"):
		in.report(Note, "api-key-without-value", r, r.Pos, "Add a Value of 20 to 128 characters, for example from a parameter.", "AWS would draw a value for the API key %s; here nobody has it until it has one.", r.ID)
	case k.Value != "" && !validKey.MatchString(k.Value):
		in.report(Error, "bad-property", r, p.pos("Value"), "Use 20 to 128 letters and digits.", "The Value of the API key %s is not valid.", r.ID)
		k.Value = ""
	}
	for _, other := range b.app.APIKeys {
		if k.Value != "" && other.Value == k.Value {
			in.report(Error, "duplicate-name", r, p.pos("Value"), "Every key needs a value of its own.", "API Key already exists: %s (line %d) has the same Value.", other.LogicalID, other.Pos.Line)
		}
	}
	b.app.APIKeys = append(b.app.APIKeys, k)
}

func (b *builder) usagePlan(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("ApiStages", "Description", "Quota", "Tags", "Throttle", "UsagePlanName")
	plan := &model.UsagePlan{LogicalID: r.ID, ID: in.expand("{id6}", r), Name: p.str("UsagePlanName"), Throttle: throttle(p.sub("Throttle")), Pos: position(r.Pos)}
	if plan.Name == "" {
		plan.Name = in.generated(r.ID, 64, "")
	}
	if q := p.sub("Quota"); q.n != nil {
		q.known("Limit", "Offset", "Period")
		plan.Quota = model.Quota{Limit: int64(q.integer("Limit", 0, 0, 1<<31-1)), Offset: int64(q.integer("Offset", 0, 0, 1<<31-1)), Period: q.oneOf("Period", "DAY", "WEEK", "MONTH")}
		q.missing("Limit", "Add `Limit: 1000`.")
		q.missing("Period", "Add `Period: DAY`, WEEK or MONTH.")
	}
	for _, s := range p.each("ApiStages") {
		s.known("ApiId", "Stage", "Throttle")
		if stage, ok := b.planStage(s); ok {
			plan.Stages = append(plan.Stages, stage)
		}
	}
	b.app.UsagePlans = append(b.app.UsagePlans, plan)
}

// planStage reads one of ApiStages; ok is false for a stage of an API that is not
// served here, such as a REST API.
func (b *builder) planStage(p props) (s model.PlanStage, ok bool) {
	if p.missing("ApiId", "Add `ApiId: !Ref MyApi`.") || p.missing("Stage", "Add `Stage: !Ref MyStage`.") {
		return s, false
	}
	s = model.PlanStage{APIID: p.str("ApiId"), Stage: p.str("Stage")}
	a := b.apis[s.APIID]
	if a == nil || a.api == nil || s.Stage == "" {
		return s, false
	}
	var names []string
	for _, st := range a.api.Stages {
		names = append(names, st.Name)
	}
	for _, d := range a.deployed {
		names = append(names, d.name)
	}
	if !slices.Contains(names, s.Stage) {
		p.in.report(Error, "unknown-stage", p.r, p.pos("Stage"), cfn.DidYouMean(s.Stage, names), "The usage plan %s has the stage %s, which the API %s does not have.", p.r.ID, quote(s.Stage), a.api.LogicalID)
		return s, false
	}
	routes := p.sub("Throttle")
	if routes.n == nil {
		return s, true
	}
	s.Routes = map[string]model.Throttle{}
	for _, e := range routes.n.Map {
		// REST APIs have methods here ("/pets/GET"); of a WebSocket API it is the route.
		key := strings.TrimPrefix(e.Key, "/")
		s.Routes[key] = throttle(props{in: p.in, r: p.r, n: e.Value, path: routes.path + e.Key + "."})
		if a.api.Route(key) == nil {
			p.in.report(Warning, "unknown-route", p.r, e.Pos, "", "The usage plan %s throttles the route %s, which the API %s does not have.", p.r.ID, quote(e.Key), a.api.LogicalID)
		}
	}
	return s, true
}

func throttle(p props) model.Throttle {
	p.known("BurstLimit", "RateLimit")
	t := model.Throttle{Rate: p.float("RateLimit"), Burst: p.integer("BurstLimit", 0, 0, 1<<30)}
	if t.Rate < 0 {
		p.in.report(Error, "bad-property", p.r, p.pos("RateLimit"), "", "%s of %s cannot be negative.", p.path+"RateLimit", p.r.ID)
		t.Rate = 0
	}
	return t
}

// usagePlanKey puts a key into a plan.
func (b *builder) usagePlanKey(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("KeyId", "KeyType", "UsagePlanId")
	if p.missing("KeyId", "Add `KeyId: !Ref MyKey`.") || p.missing("UsagePlanId", "Add `UsagePlanId: !Ref MyPlan`.") {
		return
	}
	p.missing("KeyType", "Add `KeyType: API_KEY`.")
	p.oneOf("KeyType", "API_KEY")
	keyID, planID := p.str("KeyId"), p.str("UsagePlanId")
	key := slices.IndexFunc(b.app.APIKeys, func(k *model.APIKey) bool { return k.ID == keyID })
	plan := slices.IndexFunc(b.app.UsagePlans, func(u *model.UsagePlan) bool { return u.ID == planID })
	switch {
	case keyID == "" || planID == "":
	case key < 0:
		in.report(Warning, "unknown-api-key", r, p.pos("KeyId"), "Write `!Ref` with the logical id of an AWS::ApiGateway::ApiKey.", "%s names the API key %s, which is not in this template: nobody can use it here.", r.ID, quote(keyID))
	case plan < 0:
		in.report(Warning, "unknown-usage-plan", r, p.pos("UsagePlanId"), "Write `!Ref` with the logical id of an AWS::ApiGateway::UsagePlan.", "%s names the usage plan %s, which is not in this template.", r.ID, quote(planID))
	case !slices.Contains(b.app.UsagePlans[plan].Keys, keyID):
		b.app.UsagePlans[plan].Keys = append(b.app.UsagePlans[plan].Keys, keyID)
	}
}
