"""How far does shifting neurons control an answer: turned, steered, edited?"""
