#!/bin/sh
exec zk-java -Dorg.slf4j.simpleLogger.defaultLogLevel=off -Xmx64m org.apache.zookeeper.ZooKeeperMain -server localhost:2181 "$@"
