"""OpenAI: Whisper transcriptions, chat completions and speech."""

from connectors_app.openai_api import SpeechModel, TranscriptionModel
from connectors_app.openai_chat import ChatModel

BASE_URL = "https://api.openai.com/v1"


class OpenAITranscription(TranscriptionModel):
    slug = "openai"
    label = "OpenAI"
    key_setting = "OPENAI_API_KEY"
    base_url_setting = "OPENAI_BASE_URL"
    default_base_url = BASE_URL


class OpenAIChat(ChatModel):
    slug = "openai"
    label = "OpenAI"
    key_setting = "OPENAI_API_KEY"
    base_url_setting = "OPENAI_BASE_URL"
    default_base_url = BASE_URL


class OpenAISpeech(SpeechModel):
    slug = "openai"
    label = "OpenAI"
    key_setting = "OPENAI_API_KEY"
    base_url_setting = "OPENAI_BASE_URL"
    default_base_url = BASE_URL
