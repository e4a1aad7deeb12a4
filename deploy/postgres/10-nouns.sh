#!/bin/sh
# A role and a schema per noun, at the container's first start. Mount this folder at
# /docker-entrypoint-initdb.d and give LIANDONG_NOUNS, and for each noun and role (owner, app)
# LIANDONG_<NOUN>_<ROLE>_PASSWORD, or a file's path in LIANDONG_<NOUN>_<ROLE>_PASSWORD_FILE.
set -eu

sql=$(dirname "$0")/sql
export LIANDONG_DATABASE="${LIANDONG_DATABASE:-liandong}"

run() {
    psql -X -q -v ON_ERROR_STOP=1 --no-password -U "${POSTGRES_USER:-postgres}" -d "$1" -f "$2"
}

password() {
    name="LIANDONG_$(echo "$1" | tr '[:lower:]' '[:upper:]')_$2_PASSWORD"
    eval "value=\${$name:-}; file=\${${name}_FILE:-}"
    if [ -z "$value" ] && [ -n "$file" ]; then
        value=$(cat "$file")
    fi
    if [ -z "$value" ]; then
        echo "10-nouns.sh: $name (or ${name}_FILE) is not set" >&2
        exit 1
    fi
    printf '%s' "$value"
}

run postgres "$sql/database.sql"
for noun in ${LIANDONG_NOUNS:?the nouns, separated by spaces}; do
    owner=$(password "$noun" OWNER)
    app=$(password "$noun" APP)
    export LIANDONG_NOUN="$noun" LIANDONG_OWNER_PASSWORD="$owner" LIANDONG_APP_PASSWORD="$app"
    run "$LIANDONG_DATABASE" "$sql/noun.sql"
done
