{{/* Helm makes the CustomResourceDefinitions of crds/ once and never again. With old ones the API server
     would drop fields that new programs ask for. `helm template` sees no cluster: it compares nothing. */}}
{{- define "tcpforward.crds.check" -}}
{{- range $path, $_ := .Files.Glob "crds/*.yaml" }}
{{- $ours := $.Files.Get $path | fromYaml }}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $ours.metadata.name }}
{{- if ne (toJson (first $ours.spec.versions).schema) (toJson (first .spec.versions).schema) }}
{{- fail (printf "the cluster's CustomResourceDefinition %s is not the one of chart version %s; first do: helm upgrade --install tcpforward-crds charts/tcpforward-crds --take-ownership --namespace %s (crds.check=false goes on without)" $ours.metadata.name $.Chart.Version $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
