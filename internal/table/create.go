package table

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/id"
)

// Limits of a table (Developer Guide, "Service quotas").
const (
	maxLocals  = 5
	maxGlobals = 20
)

// CreateTable makes a table. It is usable when CreateTable returns; the answer
// says CREATING, as AWS's does, because SDKs wait for ACTIVE anyway.
func (e *Engine) CreateTable(ctx context.Context, in *CreateTableInput) (*Description, error) {
	def, err := in.definition()
	if err != nil {
		return nil, err
	}
	def.ID, def.Created = id.NewUUID(), e.cfg.Clock.Now().UnixMilli()
	if def.OnDemand {
		def.OnDemandAt = def.Created
	}
	var t *state
	err = e.change(ctx, func(tx Tx) error {
		if e.lookup(def.Name) != nil {
			return inUse("Table already exists: %s", def.Name)
		}
		if err := e.switchStream(tx, &definition{}, def); err != nil {
			return err
		}
		t = newState(*def, &counts{})
		return e.save(tx, t)
	})
	if err != nil {
		return nil, err
	}
	d := e.describe(t)
	d.TableStatus = "CREATING"
	for i := range d.GlobalSecondaryIndexes {
		d.GlobalSecondaryIndexes[i].IndexStatus = "CREATING"
	}
	return d, nil
}

// save persists a state and publishes it.
func (e *Engine) save(tx Tx, t *state) error {
	b, err := json.Marshal(&t.def)
	if err != nil {
		return fmt.Errorf("table.save(%q): %w", t.def.Name, err)
	}
	if err := tx.Put(catalogSpace, []byte(t.def.Name), b); err != nil {
		return err
	}
	e.publish(t.def.Name, t)
	return nil
}

// definition checks the request, in DynamoDB's order.
func (in *CreateTableInput) definition() (*definition, error) {
	name, err := newTableName(in.TableName)
	if err != nil {
		return nil, err
	}
	if err := in.constraints(); err != nil {
		return nil, err
	}
	def := &definition{
		Name: name, Attributes: in.AttributeDefinitions, KeySchema: in.KeySchema,
		OnDemand: in.BillingMode == "PAY_PER_REQUEST", OnDemandCap: in.OnDemandThroughput,
		Tags: in.Tags, SSE: in.SSESpecification, Class: in.TableClass,
	}
	if in.DeletionProtectionEnabled != nil {
		def.Protected = *in.DeletionProtectionEnabled
	}
	if err := in.throughput(def); err != nil {
		return nil, err
	}
	if err := checkSchema(def.KeySchema, def.Attributes, ""); err != nil {
		return nil, err
	}
	if in.LocalSecondaryIndexes != nil {
		def.Locals = *in.LocalSecondaryIndexes
		if len(def.Locals) == 0 {
			return nil, invalid("One or more parameter values were invalid: List of LocalSecondaryIndexes is empty")
		}
	}
	if in.GlobalSecondaryIndexes != nil {
		def.Globals = *in.GlobalSecondaryIndexes
		if len(def.Globals) == 0 {
			return nil, invalid("One or more parameter values were invalid: List of GlobalSecondaryIndexes is empty")
		}
	}
	if err := def.checkIndexes(); err != nil {
		return nil, err
	}
	if err := def.checkAllUsed(); err != nil {
		return nil, err
	}
	return def, def.setStream(in.StreamSpecification)
}

// constraints is what AWS's front layer checks.
func (in *CreateTableInput) constraints() error {
	var c constraints
	c.enum(in.BillingMode, "billingMode", "PROVISIONED", "PAY_PER_REQUEST")
	c.enum(in.TableClass, "tableClass", "STANDARD", "STANDARD_INFREQUENT_ACCESS")
	c.attributes(in.AttributeDefinitions)
	c.present(in.AttributeDefinitions != nil, "attributeDefinitions")
	c.present(in.KeySchema != nil, "keySchema")
	if in.KeySchema != nil {
		c.schema(in.KeySchema, "keySchema")
	}
	if t := in.ProvisionedThroughput; t != nil {
		c.throughput(t, "provisionedThroughput")
	}
	for list, indexes := range map[string]*[]SecondaryIndex{"localSecondaryIndexes": in.LocalSecondaryIndexes, "globalSecondaryIndexes": in.GlobalSecondaryIndexes} {
		if indexes == nil {
			continue
		}
		for i, x := range *indexes {
			c.index(&x, fmt.Sprintf("%s.%d.member", list, i+1))
		}
	}
	slices.Sort(c.found)
	return c.err()
}

func (c *constraints) attributes(list []AttributeDefinition) {
	for i, a := range list {
		c.enum(a.AttributeType, fmt.Sprintf("attributeDefinitions.%d.member.attributeType", i+1), "B", "N", "S")
	}
}

func (c *constraints) schema(list []KeySchemaElement, at string) {
	if len(list) == 0 {
		c.add("'[]'", at, "Member must have length greater than or equal to 1")
	}
	if len(list) > 2 {
		shown := make([]string, len(list))
		for i, k := range list {
			shown[i] = fmt.Sprintf("KeySchemaElement(attributeName=%s, keyType=%s)", k.AttributeName, k.KeyType)
		}
		c.add("'["+strings.Join(shown, ", ")+"]'", at, "Member must have length less than or equal to 2")
	}
	for i, k := range list {
		c.enum(k.KeyType, fmt.Sprintf("%s.%d.member.keyType", at, i+1), "HASH", "RANGE")
	}
}

func (c *constraints) throughput(t *Throughput, at string) {
	c.present(t.ReadCapacityUnits != nil, at+".readCapacityUnits")
	c.present(t.WriteCapacityUnits != nil, at+".writeCapacityUnits")
	c.atLeast(t.ReadCapacityUnits, at+".readCapacityUnits", 1)
	c.atLeast(t.WriteCapacityUnits, at+".writeCapacityUnits", 1)
}

func (c *constraints) index(x *SecondaryIndex, at string) {
	c.indexName(&x.IndexName, at+".indexName")
	c.schema(x.KeySchema, at+".keySchema")
	if x.Projection != nil {
		c.enum(x.Projection.ProjectionType, at+".projection.projectionType", "ALL", "INCLUDE", "KEYS_ONLY")
	}
	c.present(x.Projection != nil, at+".projection")
}

// throughput checks the billing mode against the provisioned capacity.
func (in *CreateTableInput) throughput(def *definition) error {
	t := in.ProvisionedThroughput
	switch {
	case def.OnDemand && t != nil:
		return invalid("One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	case !def.OnDemand && t == nil:
		return invalid("One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	case t != nil:
		def.Read, def.Write = *t.ReadCapacityUnits, *t.WriteCapacityUnits
	}
	return nil
}

// checkSchema checks the keys of a table (index "") or index.
func checkSchema(schema []KeySchemaElement, attributes []AttributeDefinition, index string) error {
	defined := map[string]bool{}
	var names []string
	for _, a := range attributes {
		if defined[a.AttributeName] {
			return invalid("One or more parameter values were invalid: Duplicate AttributeName in AttributeDefinitions: %s", a.AttributeName)
		}
		defined[a.AttributeName] = true
		names = append(names, a.AttributeName)
	}
	if schema[0].KeyType != "HASH" {
		return invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
	}
	if len(schema) == 2 {
		if schema[1].KeyType != "RANGE" {
			return invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
		}
		if schema[0].AttributeName == schema[1].AttributeName {
			if index == "" {
				return invalid("Invalid KeySchema: Some index key attribute have no definition")
			}
			return invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
		}
	}
	var keys []string
	missing := false
	for _, k := range schema {
		keys = append(keys, k.AttributeName)
		missing = missing || !defined[k.AttributeName]
	}
	if !missing {
		return nil
	}
	if index == "" {
		return invalid("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [%s], AttributeDefinitions: [%s]", strings.Join(keys, ", "), strings.Join(names, ", "))
	}
	return invalid("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [%s], AttributeDefinitions: [%s]", strings.Join(keys, ", "), strings.Join(names, ", "))
}

// checkIndexes checks all indexes of a definition.
func (def *definition) checkIndexes() error {
	names := map[string]bool{}
	unique := func(name string) error {
		if names[name] {
			return invalid("One or more parameter values were invalid: Duplicate index name: %s", name)
		}
		names[name] = true
		return nil
	}
	if len(def.Locals) > 0 && len(def.KeySchema) < 2 {
		return invalid("One or more parameter values were invalid: Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex")
	}
	for i := range def.Locals {
		x := &def.Locals[i]
		if err := def.checkIndex(x); err != nil {
			return err
		}
		if x.KeySchema[0].AttributeName != def.KeySchema[0].AttributeName {
			return invalid("One or more parameter values were invalid: Index KeySchema does not have the same leading hash key as table KeySchema for index: %s. index hash key: %s, table hash key: %s", x.IndexName, x.KeySchema[0].AttributeName, def.KeySchema[0].AttributeName)
		}
		if len(x.KeySchema) < 2 {
			return invalid("One or more parameter values were invalid: Index KeySchema does not have a range key for index: %s", x.IndexName)
		}
		if err := unique(x.IndexName); err != nil {
			return err
		}
	}
	if len(def.Locals) > maxLocals {
		return invalid("One or more parameter values were invalid: Number of LocalSecondaryIndexes exceeds per-table limit of 5")
	}
	for i := range def.Globals {
		x := &def.Globals[i]
		if err := def.checkIndex(x); err != nil {
			return err
		}
		if err := def.checkIndexThroughput(x); err != nil {
			return err
		}
		if err := unique(x.IndexName); err != nil {
			return err
		}
	}
	if len(def.Globals) > maxGlobals {
		return invalid("One or more parameter values were invalid: GlobalSecondaryIndex count exceeds the per-table limit of 20")
	}
	return nil
}

func (def *definition) checkIndex(x *SecondaryIndex) error {
	if err := checkSchema(x.KeySchema, def.Attributes, x.IndexName); err != nil {
		return err
	}
	p := x.Projection
	switch {
	case p.ProjectionType == "":
		return invalid("One or more parameter values were invalid: Unknown ProjectionType: null")
	case p.ProjectionType == "INCLUDE" && len(p.NonKeyAttributes) == 0:
		return invalid("One or more parameter values were invalid: ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
	case p.ProjectionType != "INCLUDE" && p.NonKeyAttributes != nil:
		return invalid("One or more parameter values were invalid: ProjectionType is %s, but NonKeyAttributes is specified", p.ProjectionType)
	}
	return nil
}

func (def *definition) checkIndexThroughput(x *SecondaryIndex) error {
	switch {
	case def.OnDemand && x.ProvisionedThroughput != nil:
		return invalid("One or more parameter values were invalid: ProvisionedThroughput should not be specified for index: %s when BillingMode is PAY_PER_REQUEST", x.IndexName)
	case !def.OnDemand && x.ProvisionedThroughput == nil:
		return invalid("One or more parameter values were invalid: ProvisionedThroughput must be specified for index: %s", x.IndexName)
	}
	return nil
}

// checkAllUsed refuses attribute definitions that no key uses.
func (def *definition) checkAllUsed() error {
	used := map[string]bool{}
	add := func(schema []KeySchemaElement) {
		for _, k := range schema {
			used[k.AttributeName] = true
		}
	}
	add(def.KeySchema)
	for _, x := range slices.Concat(def.Locals, def.Globals) {
		add(x.KeySchema)
	}
	if len(def.Attributes) == len(used) {
		return nil
	}
	if len(def.Locals)+len(def.Globals) == 0 {
		return invalid("One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	var defined []string
	for _, a := range def.Attributes {
		defined = append(defined, a.AttributeName)
	}
	return invalid("One or more parameter values were invalid: Some AttributeDefinitions are not used. AttributeDefinitions: [%s], keys used: [%s]", strings.Join(defined, ", "), strings.Join(slices.Sorted(maps.Keys(used)), ", "))
}

func (def *definition) setStream(s *StreamSpecification) error {
	if s == nil || s.StreamEnabled == nil {
		return nil
	}
	if !*s.StreamEnabled {
		if s.StreamViewType != "" {
			return invalid("One or more parameter values were invalid: Table is being disabled for streaming, StreamViewType must not be specified")
		}
		def.Stream = ""
		return nil
	}
	var c constraints
	c.enum(s.StreamViewType, "streamSpecification.streamViewType", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY")
	if err := c.err(); err != nil {
		return err
	}
	if s.StreamViewType == "" {
		return invalid("One or more parameter values were invalid: StreamViewType must be specified when StreamEnabled is true")
	}
	def.Stream = s.StreamViewType
	return nil
}

// DeleteTable removes a table with everything in it.
func (e *Engine) DeleteTable(ctx context.Context, name *string) (*Description, error) {
	n, err := newTableName(name)
	if err != nil {
		return nil, err
	}
	var t *state
	err = e.change(ctx, func(tx Tx) error {
		if t = e.lookup(n); t == nil {
			return notFound("Requested resource not found: Table: %s not found", n)
		}
		if t.def.Protected {
			return invalid("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
		}
		return e.drop(tx, t)
	})
	if err != nil {
		return nil, err
	}
	d := e.describe(t)
	d.TableStatus = "DELETING"
	d.AttributeDefinitions, d.KeySchema = nil, nil
	d.LocalSecondaryIndexes, d.GlobalSecondaryIndexes = nil, nil
	return d, nil
}

func (e *Engine) drop(tx Tx, t *state) error {
	if err := e.switchStream(tx, &t.def, &definition{}); err != nil {
		return err
	}
	for _, i := range t.indexes {
		if err := tx.Drop(i.space); err != nil {
			return err
		}
	}
	if err := tx.Drop(t.dueSpace()); err != nil {
		return err
	}
	if err := tx.Drop(t.space); err != nil {
		return err
	}
	if err := tx.Delete(countsSpace, []byte(t.def.ID)); err != nil {
		return err
	}
	if err := tx.Delete(catalogSpace, []byte(t.def.Name)); err != nil {
		return err
	}
	e.publish(t.def.Name, nil)
	return nil
}

// fill builds a new index from the items that are there. It runs inside the
// transaction that publishes the index, so no write can slip past it.
func (i *index) fill(tx Tx, t *state) error {
	var err error
	tx.Ascend(t.space, nil, nil, func(key, record []byte) bool {
		var item attr.Map
		if item, err = decodeRecord(record); err != nil {
			return false
		}
		err = i.move(tx, nil, item, key)
		return err == nil
	})
	return err
}
