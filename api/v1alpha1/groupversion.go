package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of everything here.
const Group = "conclave.dev"

var (
	// SchemeGroupVersion is the group and version of the types.
	SchemeGroupVersion = schema.GroupVersion{Group: Group, Version: "v1alpha1"}
	// Kind is the kind of a CoordinationCluster.
	Kind = SchemeGroupVersion.WithKind("CoordinationCluster")

	schemeBuilder = runtime.NewSchemeBuilder(addTypes)
	// AddToScheme makes the types known to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addTypes(s *runtime.Scheme) error {
	s.AddKnownTypes(SchemeGroupVersion, &CoordinationCluster{}, &CoordinationClusterList{})
	metav1.AddToGroupVersion(s, SchemeGroupVersion)
	return nil
}

// Resource qualifies a resource's name with the group.
func Resource(resource string) schema.GroupResource {
	return SchemeGroupVersion.WithResource(resource).GroupResource()
}
