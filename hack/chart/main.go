// Command chart makes the Helm chart of config: it reads what kustomize makes of
// hack/chart/kustomization.yaml from standard input, and writes templates and CRDs
// into the chart's folder.
//
//	kustomize build hack/chart | go run ./hack/chart -crd config/crd/bases -out config/chart
package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// words are the places of values, and what stands there in a template.
var words = map[string]string{
	"CHART_NAMESPACE":       `{{ .Release.Namespace }}`,
	"CHART_SERVICE":         `{{ .Release.Service }}`,
	"CHART_CHART":           `{{ .Chart.Name }}-{{ .Chart.Version }}`,
	"CHART_IMAGE":           `{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}`,
	"CHART_REPLICAS":        `{{ .Values.replicas }}`,
	"CHART_WATCH_NAMESPACE": `{{ .Values.watchNamespace | quote }}`,
	"CHART_METRICS_ADDRESS": `{{ if .Values.metrics.enabled }}:8443{{ else }}0{{ end }}`,
	"CHART_PULL_POLICY":     `{{ .Values.image.pullPolicy }}`,
	"CHART_RESOURCES":       `{{- toYaml .Values.resources | nindent 10 }}`,
	// kustomize wants a list here.
	"\n      - name: CHART_PULL_SECRETS": ` {{- toYaml .Values.image.pullSecrets | nindent 8 }}`,
	"CHART_NODE_SELECTOR":                `{{- toYaml .Values.nodeSelector | nindent 8 }}`,
	"CHART_TOLERATIONS":                  `{{- toYaml .Values.tolerations | nindent 8 }}`,
	"CHART_AFFINITY":                     `{{- toYaml .Values.affinity | nindent 8 }}`,
}

// conditions say of which values an object depends, by kind/name.
var conditions = map[string]string{
	"ClusterRoleBinding/conclave-operator":              `not .Values.watchNamespace`,
	"NetworkPolicy/conclave-operator":                   `.Values.networkPolicy.enabled`,
	"ServiceMonitor/conclave-operator":                  `and .Values.metrics.enabled .Values.metrics.serviceMonitor`,
	"Service/conclave-operator-metrics":                 `.Values.metrics.enabled`,
	"ClusterRole/conclave-operator-metrics-auth":        `.Values.metrics.enabled`,
	"ClusterRoleBinding/conclave-operator-metrics-auth": `.Values.metrics.enabled`,
	"ClusterRole/conclave-operator-metrics-reader":      `.Values.metrics.enabled`,
	"ClusterRole/conclave-coordinationcluster-viewer":   `.Values.rbac.aggregate`,
	"ClusterRole/conclave-coordinationcluster-editor":   `.Values.rbac.aggregate`,
}

func main() {
	crds := flag.String("crd", "config/crd/bases", "folder with the CRDs")
	out := flag.String("out", "config/chart", "folder of the chart")
	flag.Parse()
	if err := run(os.Stdin, *crds, *out); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, crds, out string) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	files, err := templates(string(text))
	if err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(crds, "*.yaml"))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("no CRDs in %s: %v", crds, err)
	}
	for _, name := range found {
		crd, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files[filepath.Join("crds", filepath.Base(name))] = string(crd)
	}
	for name, text := range files {
		name = filepath.Join(out, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

var leftOver = regexp.MustCompile(`CHART_[A-Z_]+`)

// templates makes a file for each object. Every condition must have met its
// object, and every word its place.
func templates(text string) (map[string]string, error) {
	files := map[string]string{}
	unmet := maps.Clone(conditions)
	unused := maps.Clone(words)
	for _, doc := range strings.Split(text, "\n---\n") {
		var o struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			return nil, err
		}
		key := o.Kind + "/" + o.Metadata.Name
		doc = strings.TrimSpace(doc) + "\n"
		for _, w := range slices.Backward(slices.Sorted(maps.Keys(words))) {
			if strings.Contains(doc, w) {
				doc = strings.ReplaceAll(doc, w, words[w])
				delete(unused, w)
			}
		}
		if w := leftOver.FindString(doc); w != "" {
			return nil, fmt.Errorf("%s: nobody knows %s", key, w)
		}
		if c := conditions[key]; c != "" {
			delete(unmet, key)
			doc = "{{- if " + c + " }}\n" + doc + "{{- end }}\n"
			if key == "ClusterRoleBinding/conclave-operator" {
				doc += oneNamespace(doc)
			}
		}
		files[filepath.Join("templates", strings.ToLower(o.Kind)+"-"+strings.TrimPrefix(o.Metadata.Name, "conclave-")+".yaml")] = doc
	}
	if len(unmet) > 0 || len(unused) > 0 {
		return nil, fmt.Errorf("conditions of objects that are not there: %v; words without a place: %v",
			slices.Sorted(maps.Keys(unmet)), slices.Sorted(maps.Keys(unused)))
	}
	return files, nil
}

// oneNamespace makes of the binding for all namespaces that for the only one.
func oneNamespace(binding string) string {
	return strings.NewReplacer(
		"if not .Values.watchNamespace", "if .Values.watchNamespace",
		"kind: ClusterRoleBinding", "kind: RoleBinding",
		"  name: conclave-operator\nroleRef", "  name: conclave-operator\n  namespace: {{ .Values.watchNamespace }}\nroleRef",
	).Replace(binding)
}
