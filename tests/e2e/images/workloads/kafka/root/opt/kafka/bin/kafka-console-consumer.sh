#!/bin/sh
exec /opt/kafka/bin/kafka-java -Xmx128m org.apache.kafka.tools.consumer.ConsoleConsumer "$@"
