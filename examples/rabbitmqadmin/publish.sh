#!/usr/bin/env bash
# Publish an event for the bridge by hand, with rabbitmqadmin of RabbitMQ's management plug-in (the script in
# Python that the plug-in serves at /cli/rabbitmqadmin). For trying things out; a service publishes over AMQP.
#
#   ./publish.sh [user]
set -euo pipefail

user=${1:-u1}
id=$(cat /proc/sys/kernel/random/uuid)
time=$(date --utc +%Y-%m-%dT%H:%M:%S.000Z)

answer=$(
    rabbitmqadmin --base-uri "${MANAGEMENT_URL:-http://127.0.0.1:15672}" \
        --username "${RABBITMQ_USER:-guest}" --password "${RABBITMQ_PASSWORD:-guest}" \
        publish exchange="${EXCHANGE:-cloudphone.events}" routing_key=quota.updated \
        properties="{\"message_id\": \"$id\", \"content_type\": \"application/json\", \"delivery_mode\": 2}" \
        payload="{\"userId\": \"$user\", \"timestamp\": \"$time\", \"quotaId\": \"quota-7f3a\",
                  \"limits\": {\"devices\": 10}, \"usage\": {\"devices\": 4}}"
)
if [[ $answer == *"NOT routed"* ]]; then
    echo "No queue takes it: is the exchange the one of the bridge?" >&2
    exit 1
fi
echo "published quota.updated, message_id $id"
