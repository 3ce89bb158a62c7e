"""config.yaml and the environment, as frozen, validated values."""

from mirror.config.fields import Config, CredentialsConfig, ProxyConfig, UpstreamConfig
from mirror.config.loading import load

__all__ = ["Config", "CredentialsConfig", "ProxyConfig", "UpstreamConfig", "load"]
