package api

import (
	"context"
	"os"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

const crdFile = "../../config/crd/bases/conclave.dev_coordinationclusters.yaml"

// library judges objects as the API server does, without one.
type library struct {
	structural *schema.Structural
	plain      validation.SchemaValidator
	cel        *cel.Validator
}

func readCRD(t *testing.T) *apiextensions.CustomResourceDefinition {
	t.Helper()
	text, err := os.ReadFile(crdFile)
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&crd)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	var out apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&crd, &out, nil); err != nil {
		t.Fatal(err)
	}
	out.Status.StoredVersions = []string{"v1alpha1"}
	return &out
}

func newLibrary(t *testing.T) *library {
	t.Helper()
	crd := readCRD(t)
	props := crd.Spec.Validation
	if props == nil {
		props = crd.Spec.Versions[0].Schema
	}
	structural, err := schema.NewStructural(props.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := validation.NewSchemaValidator(props.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	return &library{structural: structural, plain: plain, cel: cel.NewValidator(structural, true, celconfig.PerCallLimit)}
}

// object makes an object with the parts given as YAML, defaulted.
func (l *library) object(t *testing.T, name, spec, status string) map[string]any {
	t.Helper()
	o := map[string]any{
		"apiVersion": v1alpha1.SchemeGroupVersion.String(),
		"kind":       v1alpha1.Kind.Kind,
		"metadata":   map[string]any{"name": name, "namespace": "default"},
		"spec":       parse(t, spec),
	}
	if status != "" {
		o["status"] = parse(t, status)
	}
	defaulting.Default(o, l.structural)
	return o
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	b, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = json.Unmarshal(b, &m) // apimachinery's: whole numbers stay whole
	}
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if m == nil {
		m = map[string]any{}
	}
	return m
}

// judge returns the API server's objections to o, which replaces old unless that
// is nil.
func (l *library) judge(o, old map[string]any) field.ErrorList {
	var errs field.ErrorList
	if old == nil {
		errs = validation.ValidateCustomResource(nil, o, l.plain)
	} else {
		errs = validation.ValidateCustomResourceUpdate(nil, o, old, l.plain)
	}
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, l.structural, o)...)
	var before any
	if old != nil {
		before = old
	}
	more, _ := l.cel.Validate(context.Background(), nil, l.structural, o, before, celconfig.RuntimeCELCostBudget)
	return append(errs, more...)
}

func wantJudgement(t *testing.T, errs field.ErrorList, want string) {
	t.Helper()
	text := ""
	if err := errs.ToAggregate(); err != nil {
		text = err.Error()
	}
	wantMessage(t, text, want)
}

func wantMessage(t *testing.T, got, want string) {
	t.Helper()
	switch {
	case want == "" && got != "":
		t.Errorf("refused: %s", got)
	case want != "" && got == "":
		t.Errorf("accepted, and should be refused with %q", want)
	case !strings.Contains(got, want):
		t.Errorf("refused with %q, which does not say %q", got, want)
	}
}

// The CRD is one that an API server takes, its rules' costs included.
func TestCRDIsValid(t *testing.T) {
	for _, err := range crdvalidation.ValidateCustomResourceDefinition(t.Context(), readCRD(t)) {
		t.Error(err)
	}
}

func TestCreateByLibrary(t *testing.T) {
	l := newLibrary(t)
	for _, c := range creations {
		t.Run(c.name, func(t *testing.T) {
			wantJudgement(t, l.judge(l.object(t, c.objectName(), c.spec, ""), nil), c.want)
		})
	}
	for _, p := range leasePaths {
		t.Run(p.path+" "+p.leaseName, func(t *testing.T) {
			wantJudgement(t, l.judge(l.object(t, "main", p.spec(t), ""), nil), p.want)
		})
	}
}

func TestChangeByLibrary(t *testing.T) {
	l := newLibrary(t)
	for _, c := range specChanges {
		t.Run(c.name, func(t *testing.T) {
			wantJudgement(t, l.judge(l.object(t, "main", c.new, ""), l.object(t, "main", c.old, "")), c.want)
		})
	}
	for _, c := range statusChanges {
		t.Run("status: "+c.name, func(t *testing.T) {
			wantJudgement(t, l.judge(l.object(t, "main", "{}", c.new), l.object(t, "main", "{}", c.old)), c.want)
		})
	}
}

// SetDefaults and the CRD fill in the same.
func TestDefaultsByLibrary(t *testing.T) {
	l := newLibrary(t)
	for _, c := range creations {
		if c.want != "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			var filled, bare v1alpha1.CoordinationCluster
			convert(t, l.object(t, "main", c.spec, ""), &filled)
			convert(t, map[string]any{"spec": parse(t, c.spec)}, &bare)
			wantDefaults(t, filled.Spec, bare)
		})
	}
}

// wantDefaults compares what an API server filled in with what SetDefaults does.
func wantDefaults(t *testing.T, filled v1alpha1.CoordinationClusterSpec, bare v1alpha1.CoordinationCluster) {
	t.Helper()
	v1alpha1.SetDefaults(&bare)
	if !equality.Semantic.DeepEqual(filled, bare.Spec) {
		a, _ := yaml.Marshal(filled)
		b, _ := yaml.Marshal(bare.Spec)
		t.Errorf("the API server makes of it\n%s\nand SetDefaults\n%s", a, b)
	}
}

func convert(t *testing.T, from map[string]any, to any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(from, to); err != nil {
		t.Fatal(err)
	}
}

func (c creation) objectName() string {
	if c.object != "" {
		return c.object
	}
	return "main"
}

func (p leasePath) spec(t *testing.T) string {
	t.Helper()
	r := map[string]any{"name": "r", "kind": "Node", "path": p.path}
	if p.leaseName != "" {
		r["leaseName"] = p.leaseName
	}
	text, err := yaml.Marshal(map[string]any{"leases": map[string]any{"rules": []any{r}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
