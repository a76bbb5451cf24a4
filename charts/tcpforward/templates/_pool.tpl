{{/* The pods of a pool. */}}

{{/* What the schema can't say: list, the pool and the names before it. */}}
{{- define "tcpforward.pool.check" -}}
{{- $pool := first . -}}
{{- if hasKey (last .) $pool.name }}
{{- fail (printf "pools: the name %q is there twice: give each pool its own" $pool.name) }}
{{- end }}
{{- if and $pool.autoscaling.enabled (eq $pool.kind "DaemonSet") }}
{{- fail (printf "pools: %s: autoscaling is for kind Deployment: a DaemonSet has a pod on each node" $pool.name) }}
{{- end }}
{{- if and $pool.autoscaling.enabled (gt (int $pool.autoscaling.minReplicas) (int $pool.autoscaling.maxReplicas)) }}
{{- fail (printf "pools: %s: autoscaling.minReplicas is above maxReplicas: write the larger one as maxReplicas" $pool.name) }}
{{- end }}
{{- if and $pool.autoscaling.enabled (not (dig "requests" "cpu" "" $pool.resources)) }}
{{- fail (printf "pools: %s: autoscaling counts in percent of resources.requests.cpu: give it one" $pool.name) }}
{{- end }}
{{- range list "healthPort" "adminPort" }}
{{- $port := int (get $pool .) }}
{{- if and (not $pool.hostNetwork) (ge $port 10000) (le $port 32767) }}
{{- fail (printf "pools: %s: %s is %d: the operator gives the ports from 10000 to 32767 of pods to TcpForwards; write another one" $pool.name . $port) }}
{{- end }}
{{- end }}
{{- if eq (int $pool.healthPort) (int $pool.adminPort) }}
{{- fail (printf "pools: %s: healthPort and adminPort are both %d: give one of them another port" $pool.name (int $pool.healthPort)) }}
{{- end }}
{{- end }}

{{/* The spec of a pod: list, root, the pool and its own label. */}}
{{- define "tcpforward.pool.pod" -}}
{{- $root := first . -}}
{{- $pool := index . 1 -}}
{{- $drain := $pool.drain -}}
serviceAccountName: {{ $pool.fullname }}
automountServiceAccountToken: false
{{- include "tcpforward.pullSecrets" $root }}
{{- if $pool.hostNetwork }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
securityContext:
  {{- include "tcpforward.podSecurity" $root | nindent 2 }}
  {{- if and $pool.lowPorts (not $pool.hostNetwork) }}
  sysctls:
  - name: net.ipv4.ip_unprivileged_port_start
    value: "0"
  {{- end }}
terminationGracePeriodSeconds: {{ add $drain.preStopSeconds $drain.delaySeconds $drain.timeoutSeconds 5 }}
{{- if eq $pool.kind "Deployment" }}
topologySpreadConstraints:
  {{- include "tcpforward.spread" (list $root "data-plane" (last .)) | trim | nindent 2 }}
{{- end }}
{{- include "tcpforward.placement" $pool }}
containers:
- name: dataplane
  image: {{ include "tcpforward.image" $root }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  command: [dataplane]
  args:
  - --operator={{ include "tcpforward.serverName" $root }}:9900
  - --operator-ca=/identity/ca.crt
  - --token-file=/identity/token
  - --pool={{ $pool.name }}
  - --bind={{ $root.Values.bindAddress }}
  - --health={{ $root.Values.bindAddress }}:{{ $pool.healthPort }}
  - --admin=127.0.0.1:{{ $pool.adminPort }}
  - --state-dir=/state
  - --drain-delay={{ $drain.delaySeconds }}s
  - --drain-timeout={{ $drain.timeoutSeconds }}s
  {{- with $pool.threads }}
  - --threads={{ . }}
  {{- end }}
  - --log={{ $pool.log }}
  - --log-format={{ $pool.logFormat }}
  env:
  - name: TCPFORWARD_POD
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: TCPFORWARD_POD_UID
    valueFrom:
      fieldRef:
        fieldPath: metadata.uid
  - name: TCPFORWARD_NODE
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  ports:
  - name: health
    containerPort: {{ $pool.healthPort }}
  livenessProbe:
    httpGet:
      path: /livez
      port: health
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  readinessProbe:
    httpGet:
      path: /readyz
      port: health
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 2
  {{- if $drain.preStopSeconds }}
  lifecycle:
    preStop:
      sleep:
        seconds: {{ $drain.preStopSeconds }}
  {{- end }}
  securityContext:
    {{- include "tcpforward.containerSecurity" $root | nindent 4 }}
  resources:
    {{- toYaml $pool.resources | nindent 4 }}
  volumeMounts:
  - name: identity
    mountPath: /identity
    readOnly: true
  - name: state
    mountPath: /state
volumes:
- name: identity
  projected:
    defaultMode: 288 # 0440, as every reader of YAML understands it
    sources:
    - serviceAccountToken:
        path: token
        audience: tcpforward
        expirationSeconds: 3600
    - configMap:
        name: {{ include "tcpforward.operator" $root }}-ca
        items:
        - key: ca.crt
          path: ca.crt
- name: state
  emptyDir:
    medium: Memory
    sizeLimit: {{ $pool.stateSizeLimit }}
{{- end }}
