package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"

	"sigs.k8s.io/yaml"
)

const chart = "../../config/chart"

// helm's functions, as far as the templates use them.
var functions = template.FuncMap{
	"toYaml": func(v any) (string, error) {
		b, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(b), "\n"), err
	},
	"nindent": func(n int, s string) string {
		return "\n" + strings.Repeat(" ", n) + strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
	},
	"quote": func(s string) string { return `"` + s + `"` },
	"default": func(d, v string) string {
		if v == "" {
			return d
		}
		return v
	},
}

// rendered are the chart's objects by kind/name, with values laid over its own.
func rendered(t *testing.T, edit func(values map[string]any)) map[string]map[string]any {
	t.Helper()
	read := func(name string, into any) {
		b, err := os.ReadFile(filepath.Join(chart, name))
		if err == nil {
			err = yaml.Unmarshal(b, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var meta struct{ Name, Version, AppVersion string }
	var values map[string]any
	read("Chart.yaml", &meta)
	read("values.yaml", &values)
	if edit != nil {
		edit(values)
	}
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	out := map[string]map[string]any{}
	for _, file := range files {
		tmpl, err := template.New(filepath.Base(file)).Funcs(functions).Option("missingkey=error").ParseFiles(file)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := tmpl.Execute(&b, map[string]any{
			"Chart": meta, "Values": values,
			"Release": map[string]any{"Namespace": "conclave-system", "Service": "Helm"},
		}); err != nil {
			t.Fatal(err)
		}
		var o map[string]any
		if err := yaml.UnmarshalStrict(b.Bytes(), &o); err != nil {
			t.Fatalf("%s: %v\n%s", file, err, &b)
		}
		if len(o) > 0 {
			out[o["kind"].(string)+"/"+o["metadata"].(map[string]any)["name"].(string)] = o
		}
	}
	return out
}

func TestChart(t *testing.T) {
	always := []string{"ClusterRole/conclave-operator", "Deployment/conclave-operator", "Role/conclave-operator-leader",
		"RoleBinding/conclave-operator-leader", "ServiceAccount/conclave-operator"}
	metrics := []string{"ClusterRole/conclave-operator-metrics-auth", "ClusterRole/conclave-operator-metrics-reader",
		"ClusterRoleBinding/conclave-operator-metrics-auth", "Service/conclave-operator-metrics"}
	people := []string{"ClusterRole/conclave-coordinationcluster-editor", "ClusterRole/conclave-coordinationcluster-viewer"}
	everywhere, policy, monitor := "ClusterRoleBinding/conclave-operator", "NetworkPolicy/conclave-operator", "ServiceMonitor/conclave-operator"
	for _, c := range []struct {
		name string
		edit func(map[string]any)
		want []string
	}{
		{"as it comes", nil, slices.Concat(always, metrics, people, []string{everywhere, policy})},
		{"for one namespace, with nothing that can be left out", func(v map[string]any) {
			v["watchNamespace"] = "shop"
			v["metrics"].(map[string]any)["enabled"] = false
			v["networkPolicy"].(map[string]any)["enabled"] = false
			v["rbac"].(map[string]any)["aggregate"] = false
		}, append(slices.Clone(always), "RoleBinding/conclave-operator")},
		{"with everything", func(v map[string]any) {
			v["metrics"].(map[string]any)["serviceMonitor"] = true
			v["nodeSelector"] = map[string]any{"a": "b"}
			v["tolerations"] = []any{map[string]any{"operator": "Exists"}}
			v["image"].(map[string]any)["pullSecrets"] = []any{map[string]any{"name": "a"}}
		}, slices.Concat(always, metrics, people, []string{everywhere, policy, monitor})},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := slices.Sorted(maps.Keys(rendered(t, c.edit)))
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("objects\n%v, want\n%v", got, c.want)
			}
		})
	}

	d := rendered(t, func(v map[string]any) {
		v["image"] = map[string]any{"repository": "registry.example/conclave", "tag": "2", "pullPolicy": "Always", "pullSecrets": []any{}}
		v["replicas"] = 2
		v["watchNamespace"] = "shop"
	})["Deployment/conclave-operator"]
	text, err := yaml.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"replicas: 2\n", "image: registry.example/conclave:2\n", "value: registry.example/conclave:2\n", "value: shop\n",
		"imagePullPolicy: Always\n", "memory: 256Mi\n", "tolerations: []\n", "namespace: conclave-system\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// With the chart's own values the Deployment is config's. All else in the chart is
// so because it is made of config; here patches name places by their numbers, and
// values.yaml says again what config says.
func TestDeploymentIsTheSame(t *testing.T) {
	text, err := os.ReadFile("../../config/manager/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	at := func(v any, path ...any) any {
		for _, p := range path {
			switch p := p.(type) {
			case string:
				v = v.(map[string]any)[p]
			case int:
				v = v.([]any)[p]
			}
		}
		return v
	}
	want, got := at(config, "spec"), at(rendered(t, nil)["Deployment/conclave-operator"], "spec")
	pod := at(got, "template", "spec").(map[string]any)
	for _, empty := range []string{"affinity", "nodeSelector", "tolerations", "imagePullSecrets"} {
		if len(fmt.Sprint(pod[empty])) > len("map[]") {
			t.Errorf("%s is %v", empty, pod[empty])
		}
		delete(pod, empty)
	}
	if pod["serviceAccountName"] != "conclave-operator" {
		t.Errorf("serviceAccountName is %v", pod["serviceAccountName"])
	}
	pod["serviceAccountName"] = "operator"
	operator := at(pod, "containers", 0).(map[string]any)
	if operator["imagePullPolicy"] != "IfNotPresent" {
		t.Errorf("imagePullPolicy is %v", operator["imagePullPolicy"])
	}
	delete(operator, "imagePullPolicy")
	image := operator["image"]
	operator["image"] = "conclave"
	for _, e := range operator["env"].([]any) {
		if v := e.(map[string]any); v["name"] == "OPERATOR_IMAGE" {
			if v["value"] != image {
				t.Errorf("the image is %v, and the operator is told %v", image, v["value"])
			}
			v["value"] = "conclave"
		}
	}
	if !reflect.DeepEqual(got, want) {
		a, _ := yaml.Marshal(got)
		b, _ := yaml.Marshal(want)
		t.Errorf("the chart's\n%s\nis not config's\n%s", a, b)
	}
}

func TestTemplatesRefuse(t *testing.T) {
	for text, want := range map[string]string{
		"kind: A\nmetadata:\n  name: b\nspec: CHART_UNKNOWN\n": "A/b: nobody knows CHART_UNKNOWN",
		"kind: A\nmetadata:\n  name: b\n":                      "conditions of objects that are not there",
	} {
		if _, err := templates(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
