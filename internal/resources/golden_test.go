package resources

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/conclave-dev/conclave/api/v1alpha1"
)

var update = flag.Bool("update", false, "write testdata/*.yaml anew; read the difference")

// All objects of a few clusters, to be read.
func TestGolden(t *testing.T) {
	for name, c := range map[string]*v1alpha1.CoordinationCluster{
		"default": cluster(nil),
		"full":    full(),
		"alone": cluster(func(s *v1alpha1.CoordinationClusterSpec) {
			s.Replicas = ptr.To[int32](1)
			s.TopologySpread = []v1alpha1.TopologySpread{}
			s.NetworkPolicy.Mode = v1alpha1.NetworkPolicyNone
		}),
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			for _, o := range objects(t, c) {
				text, err := yaml.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				got.WriteString("---\n")
				got.Write(text)
			}
			file := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s is not what is rendered now; go test ./internal/resources -update writes it, and git diff shows the difference:\n%s", file, firstDifference(got.String(), string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	a, b := bytes.Split([]byte(got), []byte("\n")), bytes.Split([]byte(want), []byte("\n"))
	for i := range a {
		if i >= len(b) || !bytes.Equal(a[i], b[i]) {
			line := "nothing"
			if i < len(b) {
				line = string(b[i])
			}
			return "got  " + string(a[i]) + "\nwant " + line
		}
	}
	return "it ends early"
}
