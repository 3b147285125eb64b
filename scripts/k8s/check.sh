#!/usr/bin/env bash
# Checks the manifests against Kubernetes' schemas with kubeconform. It downloads the schemas; where that is not possible,
# name a copy of github.com/yannh/kubernetes-json-schema in KUBE_SCHEMAS.
set -euo pipefail
cd "$(dirname "$0")"
where=default
if [ -n "${KUBE_SCHEMAS:-}" ]; then
  where="$KUBE_SCHEMAS/{{.NormalizedKubernetesVersion}}-standalone{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json"
fi
go run github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0 -strict -summary -schema-location "$where" \
  service.yaml volumes.yaml secret.yaml job.yaml
