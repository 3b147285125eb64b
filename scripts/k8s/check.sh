#!/usr/bin/env bash
# Builds the manifests with kustomize, as kubectl apply -k does, and checks them against Kubernetes' schemas with
# kubeconform. Tools and schemas are downloaded; where schemas cannot be,
# name a copy of github.com/yannh/kubernetes-json-schema in KUBE_SCHEMAS.
set -euo pipefail
cd "$(dirname "$0")"
where=default
if [ -n "${KUBE_SCHEMAS:-}" ]; then
  where="$KUBE_SCHEMAS/{{.NormalizedKubernetesVersion}}-standalone{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json"
fi
{
  go run sigs.k8s.io/kustomize/kustomize/v5@v5.7.1 build .
  echo ---
  cat secret.yaml
} | go run github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0 -strict -summary -schema-location "$where" -
