"""Demo names: what the example county's townships and invented people are called."""

COUNTY_CODE = "411224"
COUNTY_NAME = "卢氏县"

# Towns (镇) are numbered from 101, townships (乡) from 201.
TOWNS = (
    "城关镇",
    "杜关镇",
    "五里川镇",
    "官道口镇",
    "朱阳关镇",
    "官坡镇",
    "范里镇",
    "东明镇",
    "双龙湾镇",
)
TOWNSHIPS = (
    "文峪乡",
    "横涧乡",
    "双槐树乡",
    "汤河乡",
    "瓦窑沟乡",
    "狮子坪乡",
    "沙河乡",
    "徐家湾乡",
    "潘河乡",
    "木桐乡",
)

SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
MALE_CHARACTERS = "伟强磊军勇杰涛明超刚平辉鹏华飞鑫波斌宇浩凯健俊帆帅旭宁龙林欢阳建国志海山春民"
FEMALE_CHARACTERS = "芳娜敏静丽艳娟霞秀兰英玉珍莉桂香月莺媛婷雪慧巧美蓉眉君琴毛云莲荣爱妹凤洁梅琳素"
