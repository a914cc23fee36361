"""A conversation written out as the text that a chat model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmppl.errors import InvalidInputError, MissingExtraError
from lmppl.text import Chat


def render(folder: Path, chat: Chat) -> str:
    """Writes a conversation by the chat template of a checkpoint folder, up to where the model speaks.

    If the last message is the assistant's, the model continues it; otherwise its turn is opened.
    The text contains every special token that the template wants, beginning of text included.

    Raises:
        InvalidInputError: The model has no chat template, or its template refuses the conversation.
        MissingExtraError: transformers or jinja2 is not installed.
    """
    try:
        import jinja2
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        raise MissingExtraError(
            "Chat prompts need transformers and jinja2: pip install transformers jinja2"
        ) from error
    tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is None:
        raise InvalidInputError(
            f"The model in {folder} has no chat template: it was not trained on conversations. "
            "Pass the prompt as a string instead of lp.chat(...)."
        )
    messages = [{"role": role, "content": content} for role, content in chat.messages]
    continues = bool(messages) and messages[-1]["role"] == "assistant"
    try:
        return tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=not continues, continue_final_message=continues
        )
    except (jinja2.TemplateError, ValueError, IndexError) as error:
        raise InvalidInputError(
            f"The chat template of the model in {folder} refuses this conversation: {error}. "
            f"Its roles were: {', '.join(message['role'] for message in messages) or 'none'}."
        ) from error
