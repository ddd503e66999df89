package table

import (
	"strings"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
)

// Expressions is the expression parameters of a request; nil is absent.
type Expressions struct {
	Names        map[string]string // ExpressionAttributeNames
	Values       attr.Document     // ExpressionAttributeValues
	Condition    *string
	KeyCondition *string
	Filter       *string
	Projection   *string
	Update       *string
}

// matcher is a condition in either language.
type matcher interface{ Match(item attr.Map) bool }

// updater is an update in either language.
type updater interface {
	Apply(item attr.Map) (attr.Map, error)
	Paths() []dynexpr.Path
}

// parsed is the expressions of a request, parsed.
type parsed struct {
	condition  matcher
	filter     matcher
	filterTops []string // attributes the filter names
	terms      *dynexpr.KeyTerms
	projection *dynexpr.Projection
	update     updater
}

// given lists the parameters among names whose value is present.
func given(pairs ...any) []string {
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1].(bool) {
			out = append(out, pairs[i].(string))
		}
	}
	return out
}

// checkMix refuses expressions beside the parameters they replaced.
func (x *Expressions) checkMix(legacy []string) error {
	if len(legacy) == 0 {
		return nil
	}
	expressions := given("UpdateExpression", x.Update != nil, "ProjectionExpression", x.Projection != nil,
		"ConditionExpression", x.Condition != nil, "FilterExpression", x.Filter != nil, "KeyConditionExpression", x.KeyCondition != nil)
	if len(expressions) == 0 {
		if x.Names != nil {
			return invalid("ExpressionAttributeNames can only be specified when using expressions")
		}
		return nil
	}
	return invalid("Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {%s} Expression parameters: {%s}",
		strings.Join(legacy, ", "), strings.Join(expressions, ", "))
}

// parse checks and parses. takesValues names the expressions of this operation
// that could use values, for the message when none is there; "" when none can.
func (x *Expressions) parse(takesValues string) (*parsed, error) {
	p := &parsed{}
	withValues := x.Condition != nil || x.Filter != nil || x.KeyCondition != nil || x.Update != nil
	if !withValues && x.Projection == nil {
		if x.Names != nil {
			return nil, invalid("ExpressionAttributeNames can only be specified when using expressions")
		}
	}
	if !withValues && x.Values.Map != nil && takesValues != "" {
		return nil, invalid("ExpressionAttributeValues can only be specified when using expressions: %s", takesValues)
	}
	if !withValues && x.Projection == nil {
		return p, nil
	}
	if x.Values.Invalid != nil {
		return nil, invalid("ExpressionAttributeValues contains invalid value: %v for key %s", x.Values.Invalid, x.Values.At)
	}
	scope, err := dynexpr.NewScope(x.Names, x.Values.Map)
	if err != nil {
		return nil, err
	}
	if err := x.parseInto(p, scope); err != nil {
		return nil, err
	}
	return p, scope.CheckUnused()
}

func (x *Expressions) parseInto(p *parsed, scope *dynexpr.Scope) error {
	if x.Update != nil {
		u, err := scope.Update(*x.Update)
		if err != nil {
			return err
		}
		p.update = u
	}
	if x.Condition != nil {
		c, err := scope.Condition("ConditionExpression", *x.Condition)
		if err != nil {
			return err
		}
		p.condition = c
	}
	if x.Filter != nil {
		c, err := scope.Condition("FilterExpression", *x.Filter)
		if err != nil {
			return err
		}
		p.filter, p.filterTops = c, c.Tops()
	}
	if x.Projection != nil {
		proj, err := scope.Projection(*x.Projection)
		if err != nil {
			return err
		}
		p.projection = proj
	}
	if x.KeyCondition != nil {
		terms, err := scope.KeyTerms(*x.KeyCondition)
		if err != nil {
			return err
		}
		p.terms = terms
	}
	return nil
}

// attributesToGet is the legacy projection.
func attributesToGet(names []string) (*dynexpr.Projection, error) {
	if names == nil {
		return nil, nil
	}
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			return nil, invalid("One or more parameter values were invalid: Duplicate value in attribute name: %s", n)
		}
		seen[n] = true
	}
	return dynexpr.Attributes(names...), nil
}

// Returning is what a write was asked to answer with. "" is absent.
type Returning struct {
	ReturnValues    string
	OnFailure       string // ReturnValuesOnConditionCheckFailure
	Capacity        string // ReturnConsumedCapacity
	CollectionSizes string // ReturnItemCollectionMetrics
}

func (r *Returning) check(c *constraints) {
	c.enum(r.Capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	c.enum(r.CollectionSizes, "returnItemCollectionMetrics", "SIZE", "NONE")
	c.enum(r.ReturnValues, "returnValues", "ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW")
	c.enum(r.OnFailure, "returnValuesOnConditionCheckFailure", "ALL_OLD", "NONE")
}
